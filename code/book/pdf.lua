-- The PDF leaves out the code that the HTML book folds: imports and the drawing of
-- figures. What it shows is left, and all of it is in the notebooks.
function CodeBlock(block)
  local folded = block.attributes["code-fold"]
  if block.classes:includes("cell-code") and folded == "true" then return {} end
end
