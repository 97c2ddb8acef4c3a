// What is moved aside by itself, as a wide table on a narrow page, can be reached by the
// keyboard. What fits is no stop on the way.
"use strict";

(() => {
  const MAY_SCROLL = "main :is(pre, table, figure, math, p, li, div)";

  function mark() {
    for (const element of document.querySelectorAll(MAY_SCROLL)) {
      const moves =
        element.scrollWidth > element.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
      if (moves) element.tabIndex = 0;
      else if ("scrolls" in element.dataset) element.removeAttribute("tabindex");
      element.toggleAttribute("data-scrolls", moves);
    }
  }
  for (const event of ["resize", "load"]) addEventListener(event, mark);
  // What folded code and widgets show, they show after one of these.
  for (const event of ["toggle", "change", "click"]) {
    document.addEventListener(event, () => requestAnimationFrame(mark), true);
  }
})();
