// Problem 1: the network on integers of the reader's own.
"use strict";

play.define("recurrence", (root, data) => {
  const { make, drawing, slider, choice, button, said, below } = play;
  const LABELS = 78,
    COLUMN = 84,
    LONGEST = 8,
    LARGEST = 999999;
  const fractions = { 0.5: "½" };
  let inputs = [...data.inputs],
    weight = data.rec,
    at = inputs.length;

  const number = (value) => String(value).replace("-", "−");
  const signed = (value) => (value > 0 ? "+" : "") + number(value);

  // The states, the outputs, and what each input contributes to each state: exact in
  // doubles, because the inputs and the number of steps are bounded.
  function run() {
    const states = [],
      parts = inputs.map(() => []);
    let h = 0;
    inputs.forEach((x, t) => {
      h = data.in * x + weight * h;
      states.push(h);
      parts.forEach((part, k) =>
        part.push(k < t ? weight * part[t - 1] : k === t ? data.in * x : 0),
      );
    });
    const outputs = states.map((state) => 1 / (1 + Math.exp(-data.out * state)));
    return { states, outputs, parts };
  }

  const centre = (t) => LABELS + COLUMN * (t + 0.5);
  const node = (t, y, text, colour, name) =>
    make(
      "g",
      { class: name },
      make("circle", {
        cx: centre(t),
        cy: y,
        r: 25,
        fill: "none",
        stroke: `var(--${colour})`,
        "stroke-width": 2,
      }),
      make(
        "text",
        { x: centre(t), y: y + 6, "text-anchor": "middle", "font-size": text.length > 5 ? 12 : 17 },
        text,
      ),
    );
  const arrow = (x1, y1, x2, y2) => {
    const [dx, dy] = [Math.sign(x2 - x1), Math.sign(y2 - y1)];
    return make("path", {
      d: `M${x1} ${y1}L${x2} ${y2}m${-8 * dx - 5 * dy} ${-8 * dy - 5 * dx}L${x2} ${y2}l${-8 * dx + 5 * dy} ${-8 * dy + 5 * dx}`,
      fill: "none",
      stroke: "var(--grey)",
      "stroke-width": 1.6,
    });
  };
  const word = (x, y, text, more = {}) => make("text", { x, y, "font-size": 15, ...more }, text);

  const network = make("div"),
    table = make("div"),
    verdict = said({ class: "play-said decision" });
  const fields = make("div", { class: "fields", role: "group", "aria-label": "Inputs" });
  const wide = make(
    "div",
    { class: "play-wide", tabindex: 0, role: "group", "aria-label": "The unrolled network" },
    make("div", { class: "inner" }, network, fields, table),
  );

  function field(t) {
    const input = make("input", {
      type: "number",
      min: -LARGEST,
      max: LARGEST,
      step: 1,
      value: inputs[t],
      "aria-label": `Input x ${t + 1}`,
      input: () => {
        const value = Number(input.value);
        const good = input.value !== "" && Number.isInteger(value) && Math.abs(value) <= LARGEST;
        input.setAttribute("aria-invalid", !good);
        if (!good) {
          verdict.textContent = `x${below(t + 1)} is “${input.value}”, expected a whole number of at most six digits.`;
          return;
        }
        inputs[t] = value;
        show();
      },
    });
    return input;
  }

  function decision({ states, outputs }) {
    const T = at,
      h = states[T - 1];
    const odd = inputs.slice(0, T).filter((_, k) => k % 2 === 0),
      even = inputs.slice(0, T).filter((_, k) => k % 2 === 1);
    const sum = (list) => list.reduce((a, b) => a + b, 0);
    const ends = h > 0 ? "above ½, class 1" : h < 0 ? "below ½, class 0" : "exactly ½, a tie";
    const result = `h${below(T)} = ${number(h)}, so y${below(T)} = σ(${number(data.out * h)}) is ${ends}.`;
    if (weight === -1) {
      const [E, O] = [sum(even), sum(odd)],
        minus = (a, b) => `${number(a)} − ${b < 0 ? `(${number(b)})` : b} = ${number(a - b)}`;
      return T % 2 === 0
        ? `E − O = ${minus(E, O)}: ${result}`
        : `T = ${T} is odd, so the network compares O with E: O − E = ${minus(O, E)}: ${result}`;
    }
    if (weight === 1) return `The sum of all inputs is compared with zero: ${result}`;
    if (weight === 0) return `Only the last input counts: ${result}`;
    return `Every later step halves a contribution: ${result}`;
  }

  function show() {
    const result = run(),
      { states, outputs, parts } = result,
      T = inputs.length;
    const width = LABELS + COLUMN * T,
      shown = (t) => (t < at ? 1 : 0.25);
    wide.firstChild.style.minWidth = `${0.6 * width}px`;
    fields.style.gridTemplateColumns = `${LABELS}fr repeat(${T}, ${COLUMN}fr)`;
    const rows = inputs.map((_, k) => 22 + 24 * k);
    network.replaceChildren(
      drawing(
        "The network, unrolled over time",
        `${T} steps. ` +
          states
            .slice(0, at)
            .map((h, t) => `Step ${t + 1}: input ${inputs[t]}, state ${h}, output ${outputs[t]}.`)
            .join(" "),
        width,
        218,
        word(0, 50, "yₜ"),
        word(0, 146, "hₜ"),
        inputs.map((_, t) =>
          make(
            "g",
            { opacity: shown(t) },
            word(centre(t), 14, `t = ${t + 1}`, {
              "text-anchor": "middle",
              style: "fill: var(--grey)",
            }),
            node(
              t,
              45,
              number(
                outputs[t] > 0.001 && outputs[t] < 0.999
                  ? Number(outputs[t].toFixed(3))
                  : Math.round(outputs[t]),
              ),
              "orange",
              "output",
            ),
            arrow(centre(t), 115, centre(t), 72),
            node(t, 141, number(states[t]), "blue", "state"),
            arrow(centre(t), 214, centre(t), 168),
            t > 0
              ? [
                  arrow(centre(t) - COLUMN + 25, 141, centre(t) - 27, 141),
                  word(centre(t) - COLUMN / 2, 134, fractions[weight] ?? number(weight), {
                    "text-anchor": "middle",
                    "font-size": 13,
                  }),
                ]
              : [],
          ),
        ),
      ),
    );
    table.replaceChildren(
      drawing(
        "What each input contributes to each state",
        inputs
          .map(
            (_, k) =>
              `Input ${k + 1} contributes ${parts[k].slice(k, at).join(", ")} from step ${k + 1} on.`,
          )
          .join(" "),
        width,
        rows.at(-1) + 40,
        rows.map((y, k) => word(0, y, `from x${below(k + 1)}`, { style: "fill: var(--grey)" })),
        parts.map((part, k) =>
          part.map((value, t) =>
            t < k
              ? []
              : word(centre(t), rows[k], signed(value), {
                  "text-anchor": "middle",
                  opacity: shown(t),
                  class: "part",
                  style: `fill: var(--${value < 0 ? "orange" : "blue"})`,
                  "font-size": String(value).length > 7 ? 11 : 15,
                }),
          ),
        ),
        make("line", {
          x1: 0,
          x2: width,
          y1: rows.at(-1) + 10,
          y2: rows.at(-1) + 10,
          stroke: "var(--grey)",
        }),
        word(0, rows.at(-1) + 32, "sum, hₜ"),
        states.map((h, t) =>
          word(centre(t), rows.at(-1) + 32, number(h), {
            "text-anchor": "middle",
            opacity: shown(t),
          }),
        ),
      ),
    );
    verdict.textContent = decision(result);
  }

  function resize(length) {
    inputs = Array.from({ length }, (_, t) => inputs[t] ?? 0);
    at = length;
    steps.input.max = length;
    steps.set(length);
    [shorter.disabled, longer.disabled] = [length <= 1, length >= LONGEST];
    fields.replaceChildren(make("span", {}, "xₜ"), ...inputs.map((_, t) => field(t)));
    show();
  }

  const steps = slider("Step t", {
    min: 1,
    max: inputs.length,
    value: at,
    change: (t) => {
      at = t;
      show();
    },
  });
  const recurrent = choice("Recurrent weight", {
    value: String(weight),
    options: data.choices.map((own) => [String(own), fractions[own] ?? number(own)]),
    change: (own) => {
      weight = Number(own);
      show();
    },
  });
  const shorter = button("− input", () => resize(inputs.length - 1));
  const longer = button("+ input", () => resize(inputs.length + 1));
  const tie = button("Make it a tie", () => {
    // The last input cancels what the others leave.
    inputs[inputs.length - 1] -= run().states.at(-1) / data.in;
    if (!Number.isInteger(inputs.at(-1))) inputs = inputs.map(() => 0);
    resize(inputs.length);
  });
  root.append(
    make("div", { class: "play-controls" }, steps.element, recurrent.element, shorter, longer, tie),
    wide,
    verdict,
  );
  resize(inputs.length);
});
