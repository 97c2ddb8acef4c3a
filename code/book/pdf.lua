-- Makes the hand-in of the book: what its PDF has that its pages have not, and the other
-- way round. It runs before references are resolved, for Quarto and for `portable`.

local function tex(text) return pandoc.RawInline("latex", text) end
local function raw(text) return pandoc.RawBlock("latex", text) end
local function in_latex(text)  -- with every character that is special escaped
  local document = pandoc.Pandoc({ pandoc.Plain({ pandoc.Str(text) }) })
  return (pandoc.write(document, "latex", { wrap_text = "none" }))
end

-- What only the HTML book shows must not be counted by what follows.
local function drop_html(div)
  local shown = div.attributes["when-format"] == "html"
  if div.classes:includes("content-visible") and shown then return {} end
end

-- No font of the PDF has emoji and other pictographs (but ♪, ⚭ and ⚮), nor the marks that
-- join them. They are written as Python escapes them, also in titles and what cells print.
local PICTOGRAPHS = { { 0x200D, 0x200D }, { 0x2600, 0x2669 }, { 0x266B, 0x26AC },
  { 0x26AF, 0x27BF }, { 0x2B00, 0x2BFF }, { 0xFE00, 0xFE0F }, { 0x1F000, 0x1FAFF } }

local function without_pictographs(element)
  element.text = element.text:gsub(utf8.charpattern, function(character)
    local code = utf8.codepoint(character)
    for _, range in ipairs(PICTOGRAPHS) do
      if range[1] <= code and code <= range[2] then
        return (code < 0x10000 and "\\u%04x" or "\\U%08x"):format(code)
      end
    end
  end)
  return element
end

-- Page 1 begins with a block of the title and of the fields of `_variables.yml`, which
-- index.qmd has in a Div of class `cover`, each in a Span of its class. Name, NetID and
-- page number stand at the head of every page.
local function cover(div, title)
  local fields = {}
  div:walk({ Span = function(span)
    fields[span.classes[1]] = in_latex(pandoc.utils.stringify(span))
  end })
  local setup = ("\\hypersetup{pdfauthor={AUTHOR},pdfsubject={COURSE, HOMEWORK}}"
    .. "\\ihead{\\headed\\raggedright{AUTHOR (NETID)}}"
    .. "\\chead{\\headed\\centering{COURSE, HOMEWORK}}"
    .. "\\coverpage{TITLE}{COURSE, HOMEWORK, due DUE}{AUTHOR (NETID)}{COLLABORATORS}")
  fields.title = in_latex(pandoc.utils.stringify(title))
  return raw((setup:gsub("%u%u%u+", function(name) return fields[name:lower()] end)))
end

-- Code -----------------------------------------------------------------------------------

-- What the HTML book folds, or can fold, is left out, as imports and the drawing of
-- figures. A listing may be broken over two pages at a blank line, where at least four
-- lines stand on each side.
local LEAST = 4

local function pieces(text)
  local found = pandoc.List()
  for part in (text .. "\n\n"):gmatch("(.-)\n\n+") do
    -- A string of several lines is one piece: a half of it would be taken for code.
    local _, quotes = (found[#found] or ""):gsub('"""', "")
    if quotes % 2 == 1 then part = found:remove() .. "\n\n" .. part end
    found:insert(part)
  end
  local function lines(part) return select(2, part:gsub("\n", "")) + 1 end
  local index = 1
  while index < #found do
    local last = index + 1 == #found and lines(found[index + 1]) < LEAST
    if lines(found[index]) < LEAST or last then
      found[index] = found[index] .. "\n\n" .. found:remove(index + 1)
    else
      index = index + 1
    end
  end
  return found
end

local function code(block)
  local folded = (block.attributes["code-fold"] or "false") ~= "false"
  if block.classes:includes("cell-code") and folded then return {} end
  local blocks = pandoc.Blocks({ raw("\\begin{listing}") })
  for index, part in ipairs(pieces(block.text)) do
    if index > 1 then blocks:insert(raw("\\listingbreak")) end
    blocks:insert(pandoc.CodeBlock(part, block.attr))
  end
  blocks:insert(raw("\\end{listing}"))
  return blocks
end

-- Runs -----------------------------------------------------------------------------------

-- The lines under recorded results become one at the end of the chapter.
local function with_runs(blocks, runs)
  local result = pandoc.Blocks({})
  local function finish()
    if #runs > 0 then
      local line = pandoc.Inlines({ pandoc.Str("Recorded runs of this chapter: ") })
      for index, name in ipairs(runs) do
        if index > 1 then line:insert(pandoc.Str(", ")) end
        line:insert(pandoc.Code(name))
      end
      line:extend({ pandoc.Str(" ("),
        pandoc.Cite({ pandoc.Str("@tbl-records") }, { pandoc.Citation("tbl-records", "AuthorInText") }),
        pandoc.Str(").") })
      result:extend({ raw("\\begin{runs}"), pandoc.Para(line), raw("\\end{runs}") })
    end
    runs = pandoc.List()
  end
  local function note(span)
    if not span.classes:includes("record") then return end
    span:walk({ Code = function(name)
      if not runs:includes(name.text) then runs:insert(name.text) end
    end })
    return {}
  end
  for _, block in ipairs(blocks) do
    if block.t == "Header" and block.level == 1 then finish() end
    if block.t == "Div" and block.classes:includes("chapter") then
      block.content = with_runs(block.content, pandoc.List())
    else
      block = block:walk({ Span = note })
    end
    result:insert(block)
  end
  finish()
  return result
end

-- Answers --------------------------------------------------------------------------------

-- Each link of the answers is followed by the page that it leads to.
local function with_pages(block)
  local function page(label) return tex("~(p.~\\pageref*{" .. label .. "})") end
  local function cite(element)
    local parts = pandoc.Inlines({ element })
    local label = element.citations[1].id
    if #element.citations == 1 and label:match("^%a+%-") then parts:insert(page(label)) end
    return parts
  end
  local function link(element)
    local label = element.target:match("%.qmd#(.+)$")
    return label and pandoc.Inlines({ element, page(label) })
  end
  return block:walk({ Cite = cite, Link = link })
end

function Pandoc(doc)
  doc = doc:walk({ Div = drop_html, Str = without_pictographs, Code = without_pictographs,
    CodeBlock = without_pictographs })
  local title = doc.meta.title
  doc = doc:walk({
    traverse = "topdown",
    Div = function(div)
      if div.classes:includes("cover") then return cover(div, title), false end
    end,
    CodeBlock = function(block) return code(block), false end,
  })
  doc.blocks = with_runs(doc.blocks, pandoc.List())
  local chapter
  doc = doc:walk({
    traverse = "topdown",
    Header = function(header)
      if header.level > 1 then return end
      chapter = header.identifier
      if header.classes:includes("home") then return {}, false end
      if not header.classes:includes("unnumbered") then
        return { raw("\\clearpage"), header }, false
      end
    end,
    Table = function(block)
      if chapter == "answers-at-a-glance" then return with_pages(block), false end
    end,
  })
  return doc
end
