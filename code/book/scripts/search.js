// A field that searches the whole book. The words of the book, and the library that finds
// them, are loaded when the field is first used, by tags: a page that was opened from the
// disk may not fetch anything.
"use strict";

(() => {
  const up = document.currentScript.dataset.up;
  const SHOWN = 12,
    AROUND = 60; // results, and characters before and after a word found
  let found; // a promise of what searches

  const load = (file) =>
    new Promise((done, failed) => {
      const script = document.createElement("script");
      Object.assign(script, { src: `${up}scripts/${file}`, onload: done, onerror: failed });
      document.head.append(script);
    });

  async function index() {
    await Promise.all([load("minisearch.js"), load("words.js")]);
    const search = new MiniSearch({
      fields: ["title", "chapter", "text"],
      storeFields: ["href", "title", "chapter", "text"],
      searchOptions: {
        combineWith: "AND",
        prefix: (term) => term.length > 2,
        fuzzy: (term) => (term.length > 4 ? 0.2 : false),
        boost: { title: 4, chapter: 2 },
      },
    });
    search.addAll(window.bookWords.map((section, id) => ({ id, ...section })));
    return search;
  }

  // The text around the first word that was found.
  function excerpt({ text, terms }) {
    const plain = ` ${text.toLowerCase()}`; // in which a word begins after a character that is none
    const places = terms
      .map((term) => plain.search(new RegExp(`[^\\p{L}\\d]${term.replace(/\W/gu, "\\$&")}`, "u")))
      .filter((at) => at >= 0);
    const at = places.length ? Math.min(...places) : 0;
    const start = at > AROUND ? text.indexOf(" ", at - AROUND) : 0;
    const whole = start + 2 * AROUND >= text.length;
    const end = whole ? text.length : text.lastIndexOf(" ", start + 2 * AROUND);
    return `${start ? "…" : ""}${text.slice(start, end)}${whole ? "" : " …"}`;
  }

  const box = document.createElement("search");
  box.className = "book-search";
  box.innerHTML = `<label for="book-search">Search the book</label>
<input type="search" id="book-search" placeholder="Search" autocomplete="off" spellcheck="false">
<p class="count" aria-live="polite"></p><ol></ol>`;
  const [field, count, results] = ["input", ".count", "ol"].map((n) => box.querySelector(n));

  async function show() {
    const query = field.value.trim();
    results.replaceChildren();
    count.textContent = "";
    if (!query) return;
    let search;
    try {
      search = await (found ??= index());
    } catch {
      found = undefined; // to be tried again
      count.textContent = "The search could not be loaded.";
      return;
    }
    if (query !== field.value.trim()) return; // typed on in the meantime
    const all = search.search(query);
    const sections = all.length === 1 ? "1 section" : `${all.length} sections`;
    count.textContent =
      all.length === 0
        ? `Nothing is found for “${query}”.`
        : all.length > SHOWN
          ? `${sections}, of which the first ${SHOWN}:`
          : sections;
    results.replaceChildren(
      ...all.slice(0, SHOWN).map((section) => {
        const [item, link, text] = ["li", "a", "p"].map((tag) => document.createElement(tag));
        link.href = up + section.href;
        const whole = section.title === section.chapter;
        link.textContent = whole ? section.title : `${section.chapter}: ${section.title}`;
        text.textContent = excerpt(section);
        item.append(link, text);
        return item;
      }),
    );
  }

  // Arrows go through the results, Enter opens one, the first from the field; Escape ends.
  box.addEventListener("keydown", (event) => {
    const links = [field, ...results.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "Escape") {
      field.value = "";
      show();
      field.focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = at + (event.key === "ArrowDown" ? 1 : -1);
      links[Math.min(Math.max(next, 0), links.length - 1)].focus();
      event.preventDefault();
    } else if (event.key === "Enter" && at === 0 && links.length > 1) {
      links[1].click();
    }
  });
  field.addEventListener("focus", show);
  field.addEventListener("input", show);
  results.addEventListener("click", () => {
    field.value = ""; // the link may lead to a place on this page
    show();
  });

  // Above the chapters, in either renderer's list of them.
  document.querySelector("nav.chapters, #quarto-sidebar .sidebar-menu-container").prepend(box);
})();
