// Problem 1: the network on integers of the reader's own.
"use strict";

play.define("recurrence", (root, data) => {
  const { make, drawing, slider, choice, button, enable, said, say, wide, below, unique } = play;
  const [LABELS, COLUMN] = [78, 84];  // widths in the drawing
  const [LONGEST, LARGEST] = [8, 999999];  // sequence, and input
  let inputs = [...data.inputs];
  let weight = data.rec;
  let at = inputs.length;  // the step that is looked at

  const number = (value) => String(value).replace("-", "−");
  const signed = (value) => (value > 0 ? "+" : "") + number(value);
  const weighed = (value) => (value === 0.5 ? "½" : number(value));

  // The states, the outputs, and what each input contributes to each state: exact in
  // doubles, because the inputs and the number of steps are bounded.
  function run() {
    const states = [];
    const parts = inputs.map(() => []);
    let h = 0;
    inputs.forEach((x, t) => {
      h = data.in * x + weight * h;
      states.push(h);
      parts.forEach((part, k) => {
        part.push(k < t ? weight * part[t - 1] : k === t ? data.in * x : 0);
      });
    });
    const outputs = states.map((state) => 1 / (1 + Math.exp(-data.out * state)));
    return { states, outputs, parts };
  }

  // The drawings, in columns: the network above the fields for its inputs, the table below.

  const centre = (t) => LABELS + COLUMN * (t + 0.5);
  const word = (x, y, text, more = {}) => make("text", { x, y, "font-size": 15, ...more }, text);
  const grey = { style: "fill: var(--grey)" };
  const middle = { "text-anchor": "middle" };

  function node(t, y, text, colour, name) {
    const size = { "font-size": text.length > 5 ? 12 : 17 };
    return make("g", { class: name },
      make("circle", { cx: centre(t), cy: y, r: 25, fill: "none", "stroke-width": 2,
        stroke: `var(--${colour})` }),
      word(centre(t), y + 6, text, { ...middle, ...size }));
  }

  function arrow(x1, y1, x2, y2) {
    const [dx, dy] = [Math.sign(x2 - x1), Math.sign(y2 - y1)];
    const barb = (side) => `M${x2} ${y2}l${-8 * dx + side * dy} ${-8 * dy + side * dx}`;
    return make("path", { d: `M${x1} ${y1}L${x2} ${y2}${barb(5)}${barb(-5)}`,
      fill: "none", stroke: "var(--grey)", "stroke-width": 1.6 });
  }

  // What has not been read at the step that is looked at is pale.
  const opacity = (t) => (t < at ? 1 : 0.5);

  function step(t, { states, outputs }) {
    const [x, y] = [centre(t), outputs[t]];
    return make("g", { opacity: opacity(t) },
      word(x, 14, `t = ${t + 1}`, { ...middle, ...grey }),
      node(t, 45, number(Number(y.toFixed(3))), "orange", "output"),
      arrow(x, 115, x, 72),
      node(t, 141, number(states[t]), "blue", "state"),
      arrow(x, 214, x, 168),
      t === 0 ? [] : [arrow(x - COLUMN + 25, 141, x - 27, 141),
        word(x - COLUMN / 2, 134, weighed(weight), { ...middle, "font-size": 13 })]);
  }

  function drawNetwork(result, width) {
    const steps = result.states.slice(0, at).map((h, t) =>
      `Step ${t + 1}: input ${inputs[t]}, state ${h}, output ${result.outputs[t]}.`);
    network.replaceChildren(drawing(
      "The network, unrolled over time", `${inputs.length} steps. ${steps.join(" ")}`,
      width, 218, word(0, 50, "yₜ"), word(0, 146, "hₜ"),
      inputs.map((_, t) => step(t, result))));
  }

  function drawTable({ states, parts }, width) {
    const line = (k) => 22 + 24 * k;
    const end = line(inputs.length - 1);
    const about = parts.map((part, k) =>
      `Input ${k + 1} contributes ${part.slice(k, at).join(", ")} from step ${k + 1} on.`);
    const cell = (k, t, value) => word(centre(t), line(k), signed(value), { ...middle,
      class: "part", opacity: opacity(t), style: `fill: var(--${value < 0 ? "orange" : "blue"})`,
      "font-size": String(value).length > 7 ? 11 : 15 });
    table.replaceChildren(drawing(
      "What each input contributes to each state", about.join(" "), width, end + 40,
      inputs.map((_, k) => word(0, line(k), `from x${below(k + 1)}`, grey)),
      parts.map((part, k) => part.map((value, t) => (t < k ? [] : cell(k, t, value)))),
      make("line", { x1: 0, x2: width, y1: end + 10, y2: end + 10, stroke: "var(--grey)" }),
      word(0, end + 32, "sum, hₜ"),
      states.map((h, t) =>
        word(centre(t), end + 32, number(h), { ...middle, opacity: opacity(t) }))));
  }

  function decision(h) {
    const end = h > 0 ? "above ½, class 1" : h < 0 ? "below ½, class 0" : "exactly ½, a tie";
    const [state, output] = [`h${below(at)}`, `y${below(at)}`];
    const result = `${state} = ${number(h)}, so ${output} = σ(${number(data.out * h)}) is ${end}.`;
    if (weight === 1) return `The sum of the inputs so far is compared with zero: ${result}`;
    if (weight === 0) return `Only the last input counts: ${result}`;
    if (weight !== -1) return `Every later step halves a contribution: ${result}`;
    const [O, E] = [0, 1].map((first) => inputs.slice(0, at).reduce(
      (sum, x, k) => (k % 2 === first ? sum + x : sum), 0));
    const minus = (a, b) => `${number(a)} − ${b < 0 ? `(${number(b)})` : b} = ${number(a - b)}`;
    return at % 2 === 0 ? `E − O = ${minus(E, O)}: ${result}`
      : `t = ${at} is odd, so the network compares O with E: O − E = ${minus(O, E)}: ${result}`;
  }

  function show() {
    const result = run();
    const width = LABELS + COLUMN * inputs.length;
    inner.style.minWidth = `${0.6 * width}px`;
    fields.style.gridTemplateColumns = `${LABELS}fr repeat(${inputs.length}, ${COLUMN}fr)`;
    drawNetwork(result, width);
    drawTable(result, width);
    say(verdict, wrong() ?? decision(result.states[at - 1]));
  }

  // The controls.

  const allowed = (value) => Number.isInteger(value) && Math.abs(value) <= LARGEST;

  function field(t) {
    const input = make("input", { type: "number", min: -LARGEST, max: LARGEST, step: 1,
      value: inputs[t], "aria-label": `Input x ${t + 1}`, "aria-describedby": verdict.id,
      input: () => {
        const value = input.value === "" ? NaN : Number(input.value);
        input.setAttribute("aria-invalid", !allowed(value));
        if (allowed(value)) inputs[t] = value;
        show();
      } });
    return input;
  }

  // What is said while a field holds no input of the network, or nothing.
  function wrong() {
    const all = [...fields.querySelectorAll("input")];
    const t = all.findIndex((input) => input.getAttribute("aria-invalid") === "true");
    if (t < 0) return undefined;
    return `x${below(t + 1)} is “${all[t].value}”, expected a whole number of at most six `
      + `digits. The drawing still has ${number(inputs[t])}.`;
  }

  function resize(length) {
    inputs = Array.from({ length }, (_, t) => inputs[t] ?? 0);
    at = length;
    steps.input.max = length;
    steps.set(length);
    enable(shorter, length > 1);
    enable(longer, length < LONGEST);
    fields.replaceChildren(make("span", {}, "xₜ"), ...inputs.map((_, t) => field(t)));
    show();
  }

  // The last input cancels what the others leave.
  function tie() {
    const last = inputs.at(-1) - run().states.at(-1) / data.in;
    if (!allowed(last)) {
      say(verdict, `For a tie the last input would have to be ${number(last)}.`);
      return;
    }
    inputs[inputs.length - 1] = last;
    resize(inputs.length);
  }

  const network = make("div");
  const fields = make("div", { class: "fields", role: "group", "aria-label": "Inputs" });
  const table = make("div");
  const inner = make("div", {}, network, fields, table);
  const verdict = said({ class: "play-said decision", id: unique("decision") });
  const steps = slider("Step t", { min: 1, max: inputs.length, value: at,
    change: (t) => { at = t; show(); } });
  const recurrent = choice("Recurrent weight", { value: String(weight),
    options: data.choices.map((own) => [String(own), weighed(own)]),
    change: (own) => { weight = Number(own); show(); } });
  const shorter = button("− input", () => resize(inputs.length - 1));
  const longer = button("+ input", () => resize(inputs.length + 1));
  root.append(make("div", { class: "play-controls" }, steps.element, recurrent.element,
    shorter, longer, button("Make it a tie", tie)),
  wide("The unrolled network", {}, inner), verdict);
  resize(inputs.length);
});
