-- Gives a whole book its numbers and resolves its references, for HTML and for LaTeX.
--
-- The book comes as one document: a Div of class `chapter` for each source file, with the
-- attributes `kind`, numbered or appendix, and `source`. An identifier may be in several
-- chapters. What cannot be resolved is written to stderr, a line each, which begins with
-- the source, and pandoc ends with an error.

local latex = FORMAT == "latex"
local format = latex and "pdf" or "html"

local names = {
  fig = "Figure", tbl = "Table", eq = "Equation", sec = "Section",
  thm = "Theorem", lem = "Lemma", cor = "Corollary", prp = "Proposition",
  def = "Definition", exm = "Example",
}
local theorems = {
  thm = "theorem", lem = "lemma", cor = "corollary", prp = "proposition",
  def = "definition", exm = "example",
}

local numbers = {}   -- label -> { name = "Figure", number = "1.2" }
local chapter_prefix = nil  -- what a reference calls a chapter
local counts = {}    -- what has been counted in this chapter
local chapter = nil  -- "1", "A", or nil in a chapter without a number
local chapters, appendices = 0, 0
local kind = nil
local homes = {}     -- source file -> the identifier of its first heading
local places = {}    -- source file -> identifier -> the one that it has in this format
local source = nil
local errors = {}

local function fail(message)
  table.insert(errors, (source and source .. ": " or "") .. message)
end

local function prefix_of(label)
  local prefix = label:match("^(%a+)%-")
  return prefix and names[prefix] and prefix
end

local function count(what)
  counts[what] = (counts[what] or 0) + 1
  return chapter and (chapter .. "." .. counts[what]) or tostring(counts[what])
end

local function register(label, name, number)
  if numbers[label] then fail("label " .. label .. " is used twice") end
  numbers[label] = { name = name, number = number, source = source }
end

local function raw(text) return pandoc.RawBlock("latex", text) end
local function tex(text) return pandoc.RawInline("latex", text) end

-- A label as pandoc writes it in a reference.
local function in_latex(label)
  return (label:gsub(utf8.charpattern, function(character)
    return #character > 1 and ("ux%x"):format(utf8.codepoint(character)) or nil
  end))
end

-- Notes the identifiers of each chapter. In LaTeX, where all are in one document, one
-- that an earlier chapter has gets a number.
local function note_places(doc)
  local taken = {}
  return doc:walk({ Div = function(chapter_div)
    if not chapter_div.classes:includes("chapter") then return nil end
    local own = {}
    places[chapter_div.attributes.source] = own
    local function note(element)
      local label = element.identifier
      if label == "" then return nil end
      local given, times = label, 1
      while latex and taken[given] and not own[label] and not prefix_of(label) do
        given, times = label .. "-" .. times, times + 1
      end
      own[label], taken[given] = given, true
      element.identifier = given
      return element
    end
    return chapter_div:walk({ Header = note, Div = note, Span = note, CodeBlock = note,
      Code = note, Link = note, Image = note, Table = note, Figure = note })
  end })
end

-- Chapters and sections ----------------------------------------------------------------

-- A heading with a note has a short form for the contents, which to LaTeX ends at a ].
local function in_braces(inlines)
  local noted = false
  inlines:walk({ Note = function() noted = true end })
  local function braced(element)
    local has = element.t == "Math" and element.text:match("]")
      or element.t == "Link" and element.target:match("^#")
    if has then return { tex("{"), element, tex("}") }, false end
  end
  return noted and inlines:walk({ traverse = "topdown", Math = braced, Link = braced })
    or inlines
end

local function header(element)
  local level = element.level
  if latex then element.content = in_braces(element.content) end
  if level == 1 then
    counts = {}
    homes[source] = homes[source] or element.identifier
    if element.classes:includes("unnumbered") then
      chapter = nil
    elseif kind == "appendix" then
      appendices = appendices + 1
      chapter = string.char(64 + appendices)
    else
      chapters = chapters + 1
      chapter = tostring(chapters)
    end
  else
    for deeper = level + 1, 6 do counts["h" .. deeper] = 0 end
  end
  if not chapter or element.classes:includes("unnumbered") then
    if not element.classes:includes("unnumbered") then
      element.classes:insert("unnumbered")
    end
    return element
  end
  local number = chapter
  if level > 1 then
    counts["h" .. level] = (counts["h" .. level] or 0) + 1
    for above = 2, level do number = number .. "." .. (counts["h" .. above] or 0) end
  end
  if element.identifier:match("^sec%-") then
    local name = level > 1 and "Section" or (kind == "appendix" and "Appendix" or chapter_prefix)
    register(element.identifier, name, number)
  end
  if not latex then
    local appendix = level == 1 and kind == "appendix"
    local shown = appendix and ("Appendix " .. number) or number
    local class = (level == 1 and not appendix) and "number chapter-number" or "number"
    element.content:insert(1, pandoc.Space())
    element.content:insert(1, pandoc.Span(shown, { class = class }))
  end
  return element
end

-- Figures and tables -------------------------------------------------------------------

-- The inlines of a caption, of which the first word is only the mark of one. Quarto has
-- that of a picture in brackets, where the caption's own must be in pairs.
local function caption_of(div)
  local text = pandoc.utils.blocks_to_inlines(div.content)
  local where = div.attributes.where
  if where then
    local read = pandoc.read("![" .. div.attributes.text .. "](x)", "markdown").blocks
    local first = #read == 1 and (read[1].content or {})[1]
    if not first or first.t ~= "Image" and first.t ~= "Plain" then
      fail(where .. " has a caption with a bracket without its other, expected \\[ or \\]: "
        .. div.attributes.text)
    end
  end
  text:remove(1)
  if #text > 0 then text:remove(1) end
  return text
end

local function captioned(name, number, caption)
  local text = caption_of(caption)
  if latex then return text end
  local mark = name .. " " .. number .. (#text > 0 and ":" or "")
  local start = pandoc.Span(mark, { class = "number" })
  return pandoc.Inlines({ start, pandoc.Space() }) .. text
end

local function letter(index) return "(" .. string.char(96 + index) .. ")" end

local function is_panel(block)
  return block.t == "Div" and block.classes:includes("panel")
end

-- The image that a block is, if it is nothing else.
local function image_of(blocks)
  local content = #blocks == 1 and blocks[1].t == "Para" and blocks[1].content or {}
  return #content == 1 and content[1].t == "Image" and content[1]
end

-- Blocks and panels one after the other; those that are pictures in rows of `columns`.
local function panels(blocks, columns, head)
  local count, done, row = 0, pandoc.Blocks({}), pandoc.Inlines({})
  for _, block in ipairs(blocks) do
    if is_panel(block) then count = count + 1 end
  end
  local index = 0
  for _, block in ipairs(blocks) do
    if not is_panel(block) then
      done:insert(block)
    else
      index = index + 1
      local content = pandoc.Blocks(block.content)
      local text = caption_of(content:remove())
      if head then text = head(index, text) end
      local image = image_of(content)
      if not latex then
        content = image and { pandoc.Plain({ image }) } or content
        done:insert(#text > 0 and pandoc.Figure(content, { pandoc.Plain(text) })
          or pandoc.Div(content))
      else
        row:insert(tex(string.format(
          "\\begin{minipage}[t]{%.3f\\linewidth}\\centering\n", 0.99 / columns)))
        if image then
          row:insert(image)
        else
          done:insert(pandoc.Para(row))
          done:extend(content)
          row = pandoc.Inlines({})
        end
        if #text > 0 then
          row:insert(tex("\\par\\smallskip{\\small "))
          row:extend(text)
          row:insert(tex("}"))
        end
        local last = index % columns == 0 or index == count
        row:insert(tex("\\end{minipage}" .. (last and "\\par\n" or "\\hfill\n")))
        if last then
          done:insert(pandoc.Para(row))
          row = pandoc.Inlines({})
        end
      end
    end
  end
  if latex or columns == 1 then return done end
  return { pandoc.Div(done, { class = "row", style = "--columns: " .. columns }) }
end

local function figure(div, body, caption)
  local number = count("fig")
  register(div.identifier, "Figure", number)
  local columns = tonumber(div.attributes.ncol) or 1
  local function head(index, text)
    register(div.identifier .. "-" .. index, "Figure", number .. " " .. letter(index))
    local start = pandoc.Inlines({ pandoc.Str(letter(index)) })
    return #text > 0 and start .. { pandoc.Space() } .. text or start
  end
  local text = captioned("Figure", number, caption)
  local image = image_of(body)
  local content = panels(body, columns, head)
  if not latex then
    return pandoc.Figure(image and { pandoc.Plain({ image }) } or content,
      { pandoc.Plain(text) }, { id = div.identifier })
  end
  if image then content = pandoc.Blocks({ pandoc.Para({ image }) }) end
  content:walk({ Table = function()
    fail("label " .. div.identifier .. " is of a figure and its cell shows a table, "
      .. "expected a label that begins with tbl-")
  end })
  content:insert(1, raw("\\begin{figure}[!htb]\\centering"))
  local inlines = pandoc.Inlines({ tex("\\renewcommand{\\thefigure}{" .. number .. "}") })
  if #text > 0 then
    inlines:insert(tex("\\caption{"))
    inlines:extend(text)
    inlines:insert(tex("}"))
  else  -- LaTeX would have a colon
    inlines:insert(tex("\\par\\smallskip\\refstepcounter{figure}Figure~" .. number))
  end
  inlines:insert(tex("\\label{" .. in_latex(div.identifier) .. "}"))
  content:insert(pandoc.Para(inlines))
  content:insert(raw("\\end{figure}"))
  return pandoc.Div(content)
end

-- Pictures beside each other, which are no figure.
local function layout(div)
  return pandoc.Div(panels(div.content, tonumber(div.attributes.ncol)))
end

local function is_html_table(block)
  return block.format == "html" and block.text:lower():match("<table.*</table")
end

local function table_float(div, body, caption)
  local number = count("tbl")
  register(div.identifier, "Table", number)
  local text = captioned("Table", number, caption)
  local tables = 0
  local blocks = pandoc.Blocks(body):walk({
    Table = function(element)
      tables = tables + 1
      if not latex then return nil end
      element.caption = { long = { pandoc.Plain(text) } }
      element.identifier = div.identifier
      return element
    end,
    RawBlock = function(block)
      if is_html_table(block) then tables = tables + 1 end
    end,
  })
  if tables ~= 1 then
    fail("label " .. div.identifier .. " is of one table and its cell shows " .. tables)
  end
  if not latex then
    local whole = #blocks == 1 and blocks or { pandoc.Div(blocks) }  -- stays in its order
    return pandoc.Figure(whole, { pandoc.Plain(text) },
      { id = div.identifier, class = "table" })
  end
  blocks:insert(1, raw("\\renewcommand{\\thetable}{" .. number .. "}"))
  return pandoc.Div(blocks)
end

-- LaTeX has the tables of what is HTML, as Quarto has them.
local function html_tables(block)
  if latex and is_html_table(block) then
    local tables = pandoc.Blocks({})
    pandoc.read(block.text, "html").blocks:walk({
      traverse = "topdown",
      Table = function(element)
        element.identifier = ""  -- else LaTeX counts it
        tables:insert(element)
        return element, false  -- not those within it
      end,
    })
    return tables
  end
end

-- Theorems, proofs, folded code ---------------------------------------------------------

-- Puts inlines at the beginning or the end of blocks, in their paragraph if there is one.
local function put_first(blocks, inlines)
  if blocks[1] and blocks[1].t == "Para" then
    blocks[1].content = inlines .. blocks[1].content
  else
    blocks:insert(1, pandoc.Para(inlines))
  end
end

local function put_last(blocks, inlines)
  if #blocks > 0 and blocks[#blocks].t == "Para" then
    blocks[#blocks].content:extend(inlines)
  else
    blocks:insert(pandoc.Para(inlines))
  end
end

local function theorem(div, prefix)
  local number = count(prefix)
  register(div.identifier, names[prefix], number)
  local name = div.attributes.name
  local title = name and pandoc.utils.blocks_to_inlines(pandoc.read(name).blocks)
  local content = div.content
  if latex then
    local environment = theorems[prefix]
    local head = pandoc.Inlines({ tex("\\renewcommand{\\the" .. environment .. "}{" .. number
      .. "}\\begin{" .. environment .. "}") })
    if title then head = head .. { tex("[{") } .. title .. { tex("}]") } end
    head:insert(tex("\\label{" .. in_latex(div.identifier) .. "}\n"))
    put_first(content, head)
    put_last(content, { tex("\n\\end{" .. environment .. "}") })
    return pandoc.Div(content)
  end
  local head = pandoc.Inlines({ pandoc.Str(names[prefix] .. " " .. number) })
  if title then head = head .. { pandoc.Str(" (") } .. title .. { pandoc.Str(")") } end
  put_first(content, pandoc.Inlines({
    pandoc.Span(head, { class = "theorem-title" }), pandoc.Space() }))
  return pandoc.Div(content, { id = div.identifier, class = "theorem " .. theorems[prefix] })
end

local function proof(div)
  local content = div.content
  if latex then
    put_first(content, pandoc.Inlines({ tex("\\begin{proof}\n") }))
    put_last(content, { tex("\n\\end{proof}") })
    return pandoc.Div(content)
  end
  put_first(content, pandoc.Inlines({ pandoc.Emph("Proof."), pandoc.Space() }))
  return pandoc.Div(content, { class = "proof" })
end

local function code(block)
  if block.classes:includes("is-refused") then fail(block.text) end
  local fold = block.attributes["code-fold"]
  local summary = fold and block.attributes["code-summary"]
  block.attributes = {}
  -- In LaTeX only code without a class stands on the page's own ground.
  if latex and block.classes:includes("output") then block.classes = {} end
  if latex or not summary then return block end
  return {
    pandoc.RawBlock("html",
      "<details class=\"code-fold\"" .. (fold == "show" and " open" or "") .. "><summary>"
        .. summary .. "</summary>"),
    block,
    pandoc.RawBlock("html", "</details>"),
  }
end

-- What is for one format alone; its headings are those of the page, as without the block.
local function for_format(element)
  local visible = element.classes:includes("content-visible")
  if not visible and not element.classes:includes("content-hidden") then return end
  local named = element.attributes["when-format"] == format
  return named == visible and element.content or {}
end

local function div(element)
  local classes = element.classes
  if classes:includes("chapter") then
    kind, source = element.attributes.kind, element.attributes.source
    chapter, counts = nil, {}
    if kind == "appendix" and appendices == 0 and latex then
      element.content:insert(1, raw("\\appendix"))
    end
    return element
  elseif classes:includes("float") then
    local body, caption = pandoc.List(element.content), nil
    caption = body:remove()
    if element.identifier:match("^fig%-") then return figure(element, body, caption) end
    return table_float(element, body, caption)
  elseif classes:includes("layout") then
    return layout(element)
  elseif classes:includes("proof") then
    return proof(element)
  end
  local prefix = element.identifier:match("^(%a+)%-")
  if prefix and theorems[prefix] then return theorem(element, prefix) end
end

-- Equations ----------------------------------------------------------------------------

local function equations(inlines)
  local result, index = pandoc.Inlines({}), 1
  while index <= #inlines do
    local element = inlines[index]
    local after = inlines[index + 1]
    local mark = after and (after.t == "Space" or after.t == "SoftBreak")
      and inlines[index + 2] or after
    local label = element.t == "Math" and element.mathtype == "DisplayMath" and mark
      and mark.t == "Str" and mark.text:match("^{#(eq%-[^%s{}]+)}$")
    if label then
      local number = count("eq")
      register(label, "Equation", number)
      if latex then
        result:insert(tex("\\begin{equation}\\label{" .. in_latex(label) .. "}\\tag{" .. number .. "}\n"
          .. element.text:gsub("^%s+", ""):gsub("%s+$", "") .. "\n\\end{equation}"))
      else
        local shown = pandoc.Span("(" .. number .. ")", { class = "number" })
        result:insert(pandoc.Span({ element, shown }, { id = label, class = "equation" }))
      end
      index = index + (mark == after and 2 or 3)
    else
      result:insert(element)
      index = index + 1
    end
  end
  return result
end

local function paragraph(element)
  element.content = equations(element.content)
  return element
end

-- References ---------------------------------------------------------------------------

-- A path without what leads up or nowhere.
local function resolved(path)
  local parts = pandoc.List()
  for part in path:gmatch("[^/]+") do
    if part == ".." then parts:remove() elseif part ~= "." then parts:insert(part) end
  end
  return table.concat(parts, "/")
end

local function link(citation)
  local entry = numbers[citation.id]
  if not entry then
    fail("unresolved reference @" .. citation.id)
    return pandoc.Str("?")
  end
  local text = pandoc.Inlines(entry.number)
  if #citation.prefix > 0 then  -- it takes the place of the name
    text = citation.prefix .. { pandoc.Str("\u{a0}" .. entry.number) }
  elseif citation.mode ~= "SuppressAuthor" then
    text = entry.name .. "\u{a0}" .. entry.number
  end
  return pandoc.Link(text, "#" .. citation.id:gsub("^(fig%-.*)%-%d+$", "%1"), "", { class = "ref" })
end

local cited = nil  -- the first work that is

local function cite(element)
  local links = pandoc.Inlines({})
  for index, citation in ipairs(element.citations) do
    local small = citation.id:gsub("^%u", string.lower)  -- @Fig-a begins a sentence
    if prefix_of(small) then citation.id = small end
    if not prefix_of(citation.id) then
      if index > 1 and #links > 0 then
        fail("references and citations are mixed at @" .. citation.id)
      end
      cited = cited or citation.id
      return nil
    end
    if index > 1 then links:extend({ pandoc.Str(","), pandoc.Space() }) end
    links:insert(link(citation))
  end
  return links
end

local function unquoted(text)
  return (text:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

-- A link to a source file, [text](../chapter.qmd#label), is one to its place in the book,
-- and so is [text](#label). Where the place is on another page, the link leads to
-- book:chapter.qmd#label.
local function book_link(element)
  local path, label = element.target:match("^([^#]*)#?(.*)$")
  path, label = unquoted(path), unquoted(label)
  local file = source
  if path:match("%.qmd$") and not path:match("^%a[%w+.-]*:") then
    file = path:sub(1, 1) == "/" and path:sub(2)
      or pandoc.path.join({ pandoc.path.directory(source), path })
    file = resolved(file)
  elseif path ~= "" or label == "" then
    return nil
  end
  local given = places[file] and places[file][label]
  if label == "" then given = homes[file] end
  if numbers[label] and (path == "" or numbers[label].source == file) then
    file, given = numbers[label].source, label  -- it may be that of a formula
  end
  if not given and path == "" then
    for other, own in pairs(places) do
      if own[label] then
        if given then fail("the link to " .. element.target .. " may lead to several pages") end
        file, given = other, own[label]
      end
    end
  end
  if not given then fail("no place for the link to " .. element.target) end
  local away = not latex and file ~= source
  element.target = (away and "book:" .. file:gsub("[%%#]", { ["%"] = "%25", ["#"] = "%23" }) or "") .. "#" .. (given or "")
  return element
end

-- A figure as LaTeX can show it.
local function vector(image)
  if not image.src:match("^figures/") then
    fail("an image that is not drawn by a cell is not supported: " .. image.src)
  end
  if latex then image.src = image.src:gsub("%.svg$", ".pdf") end
  return image
end

function Pandoc(doc)
  chapter_prefix = pandoc.utils.stringify(doc.meta["chapter-prefix"])
  doc = note_places(doc:walk({ Div = for_format, Image = vector, RawBlock = html_tables }))
  doc = doc:walk({
    traverse = "topdown",
    Header = header,
    Div = div,
    Para = paragraph,
    Plain = paragraph,
    CodeBlock = code,
  })
  doc = doc:walk({ Div = function(element)
    if not element.classes:includes("chapter") then return nil end
    source = element.attributes.source
    return element:walk({ Link = book_link }):walk({ Cite = cite })
  end })
  local listed = false
  doc.blocks:walk({ Div = function(element)
    listed = listed or element.identifier == "refs"
  end })
  if cited and not listed then
    fail("citation @" .. cited .. " has no list of references, expected a block ::: {#refs}")
  end
  for _, message in ipairs(errors) do io.stderr:write("[ERROR] " .. message .. "\n") end
  if #errors > 0 then os.exit(1) end
  return doc
end
