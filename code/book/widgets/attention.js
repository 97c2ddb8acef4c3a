// Problem 2: self-attention on tokens of the reader's own. All of it follows from which
// base vectors the tokens have, from their norm β and from the scale s.
"use strict";

play.define("attention", (root, data) => {
  const { make, drawing, slider, button, enable, said, wide, below, written } = play;
  const names = [..."abcd"], colours = ["blue", "orange", "green", "grey"];
  const FEWEST = 2, MOST = names.length, STEP = 0.05, NEAR = 0.1;
  const largest = data.dots.at(-1), norms = [];
  for (let k = 1; k * STEP <= largest + 1e-9; k++) norms.push(k * STEP);
  let tokens, beta = data.beta, scale = 1;

  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const norm = (list) => Math.hypot(...list);
  const dot = (u, v) => sum(u.map((own, k) => own * v[k]));
  const minus = (u, v) => u.map((own, k) => own - v[k]);
  const same = (u, v) => String(u) === String(v);
  // The sum of vectors, each times its weight.
  const mixture = (weights, vectors) =>
    names.map((_, k) => dot(weights, vectors.map((vector) => vector[k])));

  // Output i, in base vectors. Other tokens that have all base vectors of token i match
  // it as well as itself. The output tends to the mean of these best matches. Its
  // distance from there comes from the weights of the others: no digits cancel. What is
  // left of it if they do, as in `self_attention`, is `computed`.
  function output(i, beta, scale) {
    const own = tokens[i], gap = (token) => dot(own, own) - dot(own, token);
    const best = all().filter((j) => gap(tokens[j]) === 0);
    const others = all().filter((j) => gap(tokens[j]) > 0);
    const powers = tokens.map((token) => Math.exp(-scale * beta * beta * gap(token)));
    const weights = powers.map((power) => power / sum(powers));
    const target = mixture(best.map(() => 1 / best.length), best.map((j) => tokens[j]));
    const away = others.map((j) => minus(tokens[j], target)), y = mixture(weights, tokens);
    let bound = null; // of the theorem, or of the lemma, or none
    if (given()) bound = Math.sqrt(data.squares[i]) * beta * Math.exp(-scale * beta * beta);
    else if (best.length === 1)
      bound = others.length * Math.max(...others.map((j) => powers[j]))
        * beta * Math.max(...away.map(norm));
    return { best, weights, y, bound, size: beta * norm(target),
      error: beta * norm(mixture(others.map((j) => weights[j]), away)),
      computed: beta * norm(minus(y, target)) };
  }

  const all = () => [...tokens.keys()], given = () => same(tokens, data.tokens);
  const alike = (best) => best.every((j) => same(tokens[j], tokens[best[0]]));
  const x = (i) => `x${below(i + 1)}`, y = (i) => `y${below(i + 1)}`;
  const listed = (list) =>
    [list.slice(0, -1).join(", "), list.at(-1)].filter(Boolean).join(" and ");
  const short = (value, digits) => written(value, digits).replace(" × ", "·");

  // A table with a caption; `cell` makes the one in a row and column.
  const table = (name, title, columns, rows, cell) => make("table", { class: name },
    make("caption", {}, title),
    make("thead", {}, make("tr", {}, make("td"),
      columns.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, rows.map((text, i) => make("tr", {},
      make("th", { scope: "row" }, text), columns.map((_, k) => cell(i, k))))));
  const shaded = (value) => make("td", { "data-value": value,
    style: `background: color-mix(in srgb, var(--blue) ${45 * value}%, transparent)` },
    value >= 0.001 ? value.toFixed(3) : short(value, 1));

  function conclusion(i, { best, error, size }) {
    const near = size && error / size, share = written(near, 2);
    const within = error === 0 ? "exactly" : `to within ${share} of its norm`;
    if (alike(best)) {
      if (size === 0) return `${x(i)} is zero, and so are all tokens.`;
      return near <= NEAR ? `${y(i)} copies ${x(i)} ${within}.`
        : `${y(i)} is no copy yet: it is ${share} of the norm of ${x(i)} away from ${x(i)}.`;
    }
    const others = best.filter((j) => j !== i), mean = `the average of ${listed(best.map(x))}`;
    const why = norm(tokens[i]) === 0 ? `${x(i)} is zero and matches all tokens alike`
      : `${listed(others.map(x))} ${others.length > 1 ? "have" : "has"} all that ${x(i)} has`;
    return near <= NEAR ? `${y(i)} is ${mean} ${within}: ${why}.`
      : `${y(i)} is no copy and tends to ${mean}: ${why}.`;
  }

  // The errors over β. The tokens alone determine the logarithmic axis: it stands still
  // while β and s change. Outputs with the same errors share a line.
  function graph(now) {
    const [left, right, top, bottom, upper] = [48, 308, 26, 246, 2];
    const ends = all().map((i) => output(i, largest, 1).error).filter((end) => end > 0);
    const least = Math.log10(Math.min(1e-11, ...ends)), each = least < -24 ? 8 : 4;
    const lower = each * Math.floor(least / each);
    const across = (own) => left + (right - left) * own / largest;
    const down = (value) => top + (bottom - top) * (upper - Math.log10(value)) / (upper - lower);
    const inside = (value) => value >= 10 ** lower;
    const path = (values, more) => make("path", { ...more,
      d: values.map((value, k) => !inside(value) ? ""
        : `${inside(values[k - 1]) ? "L" : "M"}${across(norms[k])} ${down(value)}`).join("") });
    const rule = (x1, x2, y1, y2, colour) =>
      make("line", { x1, x2, y1, y2, stroke: `var(--${colour})` });
    const text = (own, height, words, anchor = "middle") =>
      make("text", { x: own, y: height, "font-size": 15, "text-anchor": anchor }, words);
    const ring = (own, value, r, more) => inside(value)
      ? make("circle", { cx: across(own), cy: down(value), r, ...more }) : [];

    const lines = new Map();
    for (const i of all()) {
      const states = norms.map((own) => output(i, own, scale));
      const errors = states.map((state) => state.error);
      const shared = errors.map((error) => error.toPrecision(6)).join();
      if (lines.has(shared)) lines.get(shared).members.push(i);
      else if (Math.max(...errors) > 0) lines.set(shared,
        { members: [i], errors, bounds: states.map((state) => state.bound) });
    }
    let free = 0; // from where on downwards a line can be named
    const drawn = [...lines.values()].sort((a, b) => b.errors.at(-1) - a.errors.at(-1));
    plot.replaceChildren(drawing("Norm of the error over the norm of the base vectors",
      now.map(({ error }, i) => `At β = ${beta} it is ${written(error)} for ${y(i)}.`).join(" "),
      372, 290, text(0, 12, "norm of the error", "start"),
      text((left + right) / 2, 286, "norm of the base vectors, β"),
      Array.from({ length: 1 - lower / each }, (_, k) => 10 ** (-each * k)).map((tick) => [
        rule(left, right, down(tick), down(tick), "faint"),
        text(left - 6, down(tick) + 5, written(tick, 1).replace("1 × ", ""), "end")]),
      Array.from({ length: largest + 1 }, (_, own) => text(across(own), bottom + 18, own)),
      rule(left, right, bottom, bottom, "grey"),
      rule(across(beta), across(beta), top, bottom, "grey"),
      drawn.map(({ members, errors, bounds }) => {
        const i = members[0], paint = `var(--${colours[i]})`;
        free = Math.max(free + 17, down(errors.at(-1)));
        return make("g", { class: "line", stroke: paint, fill: "none" },
          path(bounds, { "stroke-dasharray": "6 4" }), path(errors, { "stroke-width": 2 }),
          data.dots.map((own) => ring(own, output(i, own, scale).computed, 2.4, { fill: paint })),
          ring(beta, now[i].error, 6, { "stroke-width": 2.5, style: "fill: var(--back)" }),
          make("g", { stroke: "none" }, text(right + 10, free + 5,
            members.length === tokens.length ? "all" : members.map(y).join(", "), "start")));
      })));
  }

  const inputs = make("div"), weights = make("div"), outputs = make("div"), errors = make("div");
  const plot = make("div", { class: "plot" }), key = make("p", { class: "key" });
  const verdict = said({ class: "play-said copies" });

  function show() {
    const now = all().map((i) => output(i, beta, scale)), rows = all().map(y);
    weights.replaceChildren(table("weights", "Weights", all().map(x), rows,
      (i, j) => shaded(now[i].weights[j])));
    outputs.replaceChildren(table("outputs", "Outputs, in base vectors", names, rows,
      (i, k) => shaded(now[i].y[k])));
    const columns = ["tends to", "error", "bound"];
    errors.replaceChildren(table("errors", "Errors", columns, rows, (i, k) => {
      const { best, error, bound } = now[i], value = [null, error, bound][k];
      if (k === 0) return make("td", {}, alike(best) ? x(i) : best.length === tokens.length
        ? "mean of all" : `(${best.map(x).join(" + ")})/${best.length}`);
      return make("td", { "data-value": value ?? "" }, value === null ? "none" : short(value));
    }));
    graph(now);
    const link = (name, words) => make("a", { href: `#${name}` }, words);
    key.replaceChildren("Lines are exact, dots are computed in double precision, rings are at "
      + "the chosen β. Dashed is the bound of ",
      ...given() ? [link("thm-copy", "the theorem"), "."]
        : [link("lem-selection", "the lemma on selection"), ", which needs a single best match."]);
    verdict.replaceChildren(...beta === 0
      ? ["With β = 0 all vectors are zero, and there is nothing to copy."]
      : now.map((own, i) => make("span", {}, `${conclusion(i, own)} `)));
    enable(again, !given());
  }

  // Takes other tokens, and makes the table in which they are chosen.
  function take(chosen) {
    tokens = chosen.map((own) => [...own]);
    enable(fewer, tokens.length > FEWEST);
    enable(more, tokens.length < MOST);
    inputs.replaceChildren(table("tokens", "Tokens", names, all().map(x), (i, k) => {
      const box = make("input", { type: "checkbox", checked: tokens[i][k] === 1,
        "aria-label": `Token ${i + 1} has ${names[k]}`,
        change: () => { tokens[i][k] = Number(box.checked); show(); } });
      return make("td", {}, make("label", {}, box));
    }));
    show();
  }

  const length = slider("Norm β", { min: 0, max: largest, step: STEP, value: beta,
    show: (value) => value.toFixed(2), change: (value) => { beta = value; show(); } });
  const last = data.dims.length - 1;
  const factor = slider("Scale s", { min: 0, max: last, value: last,
    show: (k) => data.dims[k] === 1 ? "1" : `1/√${data.dims[k]}`,
    change: (k) => { scale = 1 / Math.sqrt(data.dims[k]); show(); } });
  const fewer = button("− token", () => take(tokens.slice(0, -1)));
  const more = button("+ token", () => take([...tokens, names.map(() => 0)]));
  const again = button("Tokens of the assignment", () => take(data.tokens));
  const side = (label, ...parts) => wide(label, { class: "side play-wide" }, parts);
  root.append(make("div", { class: "play-controls" }, length.element, factor.element),
    make("div", { class: "play-controls" }, fewer, more, again),
    side("Tokens, weights and outputs", inputs, weights, outputs),
    side("Errors", plot, make("div", {}, errors, key)), verdict);
  take(data.tokens);
});
