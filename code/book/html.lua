-- Says whose book it is in the head of a page that has the block of class `cover`, which
-- index.qmd has; `portable` filters all pages as one.
local function with_author(doc)
  doc:walk({ Span = function(span)
    if span.classes:includes("author") then
      doc.meta["author-meta"] = pandoc.utils.stringify(span)
    end
  end })
  return doc
end

-- The same cell has the same page at each render: without a label, Quarto makes its
-- identifier of a random number.
local function without_random(div)
  if div.classes:includes("cell") and div.identifier:match("^%x%x%x%x%x%x%x%x$") then
    div.identifier = ""
    return div
  end
end

-- Ends each page of Quarto's HTML book, but not of a draft, with a link to its executed
-- notebook, which notebooks.py writes when the whole book is rendered. The pages of
-- `portable` have that link in their margin.
function Pandoc(doc)
  doc = with_author(doc):walk({ Div = without_random })
  if not quarto or os.getenv("QUARTO_PROFILE") == "draft" then return doc end
  local name = pandoc.path.filename(quarto.doc.input_file):gsub("%.qmd$", ".ipynb")
  local link = pandoc.Link("This page as an executed notebook", "/notebooks/" .. name, "", {
    download = name,
    noresolveinput = "true",  -- it is not there yet, and Quarto would warn of that
  })
  doc.blocks:insert(pandoc.Div(pandoc.Para(link), { class = "notebook" }))
  return doc
end
