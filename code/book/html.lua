-- Ends each page of Quarto's HTML book, but not of a draft, with a link to its executed
-- notebook, which notebooks.py writes when the whole book is rendered. The pages of
-- `portable` have that link in their margin.
function Pandoc(doc)
  if not quarto or os.getenv("QUARTO_PROFILE") == "draft" then return end
  local name = pandoc.path.filename(quarto.doc.input_file):gsub("%.qmd$", ".ipynb")
  local link = pandoc.Link("This page as an executed notebook", "/notebooks/" .. name, "", {
    download = name,
    noresolveinput = "true",  -- it is not there yet, and Quarto would warn of that
  })
  doc.blocks:insert(pandoc.Div(pandoc.Para(link), { class = "notebook" }))
  return doc
end
