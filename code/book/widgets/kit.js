// What the widgets share. A widget is an element <play-NAME for="FIGURE"> that holds its
// data as JSON. It takes the place of the picture in that figure, and gives it back when
// it is asked to, when the page is printed, and where it can't be built.
"use strict";

const play = (() => {
  const drawn = new Set("svg title desc g text path line polyline rect circle".split(" "));
  const REMARK = " This is said of the figure as printed."; // at the end of its caption
  let count = 0;

  // The figures 0 to 9 below or above the line, by character.
  const shifted = (digits) => (text) =>
    [...String(text)].map((c) => digits["-0123456789".indexOf(c)]).join("");
  const below = shifted("₋₀₁₂₃₄₅₆₇₈₉");
  const above = shifted("⁻⁰¹²³⁴⁵⁶⁷⁸⁹");

  const unique = (stem) => `play-${stem}-${++count}`;

  // An element of HTML or SVG. An attribute that is a function listens to the event of
  // its name; one that is false or undefined is left out.
  function make(tag, attributes = {}, ...children) {
    const element = drawn.has(tag)
      ? document.createElementNS("http://www.w3.org/2000/svg", tag)
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value !== false && value !== undefined)
        element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity));
    return element;
  }

  // A drawing with its title and description, for those who don't see it.
  function drawing(title, description, width, height, ...children) {
    const [name, about] = [unique("title"), unique("desc")];
    return make(
      "svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-labelledby": name,
        "aria-describedby": about,
      },
      make("title", { id: name }, title),
      make("desc", { id: about }, description),
      ...children,
    );
  }

  // Words and lines of a drawing.
  const text = (x, y, words, more = {}) =>
    make("text", { x, y, "text-anchor": "middle", ...more }, words);
  const line = (x1, y1, x2, y2, more = {}) =>
    make("line", { x1, y1, x2, y2, stroke: "var(--faint)", ...more });

  // A labelled range. `change` is called with each new number, `show` writes it.
  function slider(label, { min, max, step = 1, value, show = String, change }) {
    const id = unique("range");
    // Not read aloud beside the text that the range itself has for its value.
    const output = make("output", { for: id, "aria-live": "off" }, show(value));
    const update = () => {
      output.textContent = show(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const input = make("input", {
      type: "range",
      id,
      min,
      max,
      step,
      value,
      input: () => {
        update();
        change(Number(input.value));
      },
    });
    update();
    const element = make(
      "div",
      { class: "play-control" },
      make("label", { for: id }, label),
      input,
      output,
    );
    return {
      element,
      input,
      set(number) {
        input.value = number;
        update();
      },
    };
  }

  // A labelled list to choose from; `options` are pairs of a value and its text.
  function choice(label, { options, value, change }) {
    const id = unique("select");
    const input = make(
      "select",
      { id, change: () => change(input.value) },
      options.map(([own, text]) => make("option", { value: own, selected: own === value }, text)),
    );
    return {
      element: make("div", { class: "play-control" }, make("label", { for: id }, label), input),
      input,
    };
  }

  // A button that is switched off keeps the focus.
  const button = (text, click, attributes = {}) => {
    const pressed = (event) => off(event.currentTarget) || click(event);
    return make("button", { type: "button", click: pressed, ...attributes }, text);
  };
  const off = (element) => element.getAttribute("aria-disabled") === "true";
  const enable = (element, on) => element.setAttribute("aria-disabled", !on);

  // A line that is read aloud where it changes.
  const said = (attributes = {}) =>
    make("p", { class: "play-said", "aria-live": "polite", ...attributes });

  // Says it in such a line. What is said already isn't read aloud again.
  function say(line, text) {
    if (line.textContent !== text) line.textContent = text;
  }

  // What is wider than the page is moved aside by itself, and has a name.
  const wide = (label, attributes, ...children) =>
    make("div", { class: "play-wide", role: "group", "aria-label": label, ...attributes }, children);

  // A number as it is printed: a true minus, and a power of ten where it is very small or large.
  function written(number, digits = 3) {
    if (number === 0) return "0";
    const size = Math.abs(number);
    if (size >= 1e-3 && size < 1e6)
      return String(Number(number.toPrecision(digits))).replace("-", "−");
    const [mantissa, exponent] = number.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")} × 10${above(exponent.replace("+", ""))}`;
  }

  // Defines <play-NAME>. `build` fills the element from the data; which it is given.
  function define(name, build) {
    customElements.define(
      `play-${name}`,
      class extends HTMLElement {
        connectedCallback() {
          if (this.built) return;
          this.built = true;
          const figure = document.getElementById(this.getAttribute("for"));
          const data = JSON.parse(this.querySelector("script").textContent);
          const picture = figure.querySelector("img");
          this.classList.add("play");
          try {
            build(this, data);
          } catch (error) {
            this.remove();
            throw error;
          }
          const swap = button(
            "Figure as printed",
            () => {
              const printed = this.classList.toggle("play-off");
              swap.setAttribute("aria-pressed", printed);
              picture.classList.toggle("play-printed", !printed);
              remark.hidden = printed;
            },
            { "aria-pressed": "false", class: "play-swap" },
          );
          this.append(swap);
          const remark = make("span", { class: "play-remark" }, REMARK);
          figure.querySelector("figcaption")?.append(remark);
          picture.classList.add("play-printed");
          picture.before(this);
        }
      },
    );
  }

  const parts = { make, drawing, text, line, slider, choice, button, enable, said, say, wide };
  return { ...parts, written, below, above, unique, define };
})();
