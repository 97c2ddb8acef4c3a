-- Stops at what the sources of a book may not have. It runs before the project's filters,
-- which may.

local errors = {}
local source = ""  -- of the chapter, which a message begins with

local function fail(message) table.insert(errors, source .. message) end

-- A string in a formula comes with its punctuation escaped, which TeX would swallow.
local function formula(element)
  if element.text:match("\\[.-]") then
    fail("a formula holds a string that is not supported: " .. element.text)
  end
end

local function raw(element)
  if element.text:match("^<!%-%-") then return {} end
  local line = element.text:match("[^\n]*")
  fail("raw " .. element.format .. " is not supported: " .. line)
end

-- What a cell gives may be HTML or LaTeX, which the other format leaves out.
function Pandoc(doc)
  doc = doc:walk({ traverse = "topdown", RawBlock = raw, RawInline = raw, Math = formula,
    Div = function(div)
      local classes = div.classes
      if classes:includes("chapter") then source = div.attributes.source .. ": " end
      if classes:includes("is-output") or classes:includes("is-given") then
        return div, false
      end
    end })
  for _, message in ipairs(errors) do io.stderr:write("[ERROR] " .. message .. "\n") end
  if #errors > 0 then os.exit(1) end
  return doc
end
