// Problem 3: both orders of multiplication, for sizes that the reader chooses.
"use strict";

play.define("linear", (root, data) => {
  const { make, drawing, text, line, slider, choice, said, say, wide, written, above } = play;
  const WIDTH = 640, HEIGHT = 120, SLOT = 46, THIN = 5, BAR = 120;  // of what is drawn
  const LETTERS = { T: "T", d: "d", v: "dᵥ" };
  const VIEWS = {
    operations: "operations", numbers: "size of the grey matrix",
    seconds: "recorded time", bytes: "recorded memory",
  };
  const LOOKS = {  // colour and dashes
    quadratic: ["blue", ""], linear: ["orange", "9 3"], "softmax, fused": ["green", "2 3"],
    causal: ["orange", "2 2"], recurrent: ["grey", "6 3 1 3"],
  };
  const sizes = { ...data.sizes }, lengths = data.steps.T;
  let view = "operations";

  const grouped = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 3 });
  const rounded = (number) => number < 1e-3 ? written(number)
    : number.toLocaleString("en-US", { maximumSignificantDigits: 3 });
  const inUnits = (number, base, [unit, ...larger]) => number < base || !larger.length
    ? `${rounded(number)}\u00a0${unit}` : inUnits(number / base, base, larger);
  const bytes = (number) => inUnits(number, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  const seconds = (number) => inUnits(number * 1e6, 1000, ["µs", "ms", "s"]);

  // A product of m × n and n × p takes m n p multiply-adds, of two operations each.
  const product = (letters, at) => letters.reduce((all, own) => all * (at[own] ?? 1), 1);
  const counts = {
    operations: ({ products }, at) => products.reduce((sum, own) => sum + 2 * product(own, at), 0),
    numbers: ({ formed }, at) => product(formed, at),
  };
  const both = (what, at = sizes) => data.orders.map((order) => counts[what](order, at));

  // One count grows as T², the other as T, so their quotient at T = 1 is where they meet.
  function meeting(at) {
    const [quadratic, linear] = both("operations", { ...at, T: 1 });
    return linear / quadratic;
  }

  // The recorded number of tokens that is nearest, as a ratio.
  const distance = (T) => Math.abs(Math.log(T / sizes.T));
  const nearest = () => data.recorded.flatMap((method) => method.tokens)
    .reduce((a, b) => distance(b) < distance(a) ? b : a);

  const GREY = { style: "fill: var(--grey)" }, LEFT = { "text-anchor": "start" };
  const path = (d) => make("path", { d, fill: "none", stroke: "currentColor" });

  // The matrices: one scale for both orders, so that the higher and the wider one fit.
  const side = (letter, scale) => Math.max(sizes[letter] * scale, THIN);
  const slot = (item, scale) => item === "=" ? 26 : !item.shape ? 14
    : Math.max(side(item.shape[1], scale), SLOT) + 8;
  function commonScale() {
    let scale = HEIGHT / Math.max(sizes.T, sizes.d);
    const wide = ({ chain }) => chain.reduce((sum, item) => sum + slot(item, scale), 10) > WIDTH;
    while (data.orders.some(wide)) scale *= 0.99;
    return scale;
  }

  function matrix({ name, shape, formed }, x, y, scale) {
    const [height, width] = shape.map((letter) => side(letter, scale));
    const inside = height > 20 && width > 10 * name.length + 4;
    return [
      make("rect", { x: x - width / 2, y: y - height / 2, width, height, stroke: "currentColor",
        fill: formed ? "var(--grey)" : "none", "fill-opacity": 0.4 }),
      text(x, inside ? y + 5 : y - height / 2 - 6, name, { "font-size": 14 }),
      text(x, y + HEIGHT / 2 + 18, shape.map((letter) => LETTERS[letter]).join(" × "), GREY)];
  }

  function drawnChain(chain, y, scale) {
    let end = 10;
    return chain.map((item) => {
      const wide = slot(item, scale), x = end + wide / 2, bend = item === "(" ? -12 : 12;
      end += wide;
      return item.shape ? matrix(item, x, y, scale)
        : item === "=" ? text(x, y + 5, "=", { "font-size": 18 })
          : path(`M${x - bend / 3} ${y - HEIGHT / 2}q${bend} ${HEIGHT / 2} 0 ${HEIGHT}`);
    });
  }

  function drawMatrices() {
    const scale = commonScale(), row = HEIGHT + 66, [slow, fast] = both("numbers");
    // A bar as on a map, for 1, 2 or 5 times a power of ten.
    const power = 10 ** Math.floor(Math.log10(BAR / scale));
    const rows = power * ([5, 2].find((times) => times * power * scale <= BAR) ?? 1);
    const thin = Object.keys(LETTERS).filter((own) => sizes[own] * scale < THIN)
      .map((own) => `${LETTERS[own]} ${rounded(THIN / sizes[own] / scale)} times`);
    note.textContent = thin.length ? `Not to scale, drawn too thick: ${thin.join(", ")}.`
      : "All sides are to scale.";
    matrices.replaceChildren(drawing("Both orders of multiplication",
      `The first forms ${grouped(slow)} numbers, the second ${grouped(fast)}.`, WIDTH, 2 * row + 24,
      data.orders.map((order, n) => [
        text(0, n * row + 14, order.title, { ...LEFT, "font-weight": "bold" }),
        drawnChain(order.chain, n * row + HEIGHT / 2 + 40, scale)]),
      path(`M1 ${2 * row + 8}v8h${rows * scale}v-8`),
      text(rows * scale + 10, 2 * row + 18, `a side of ${grouped(rows)}`, LEFT)));
  }

  function fillTable() {
    const T = nearest(), at = `T = ${grouped(T)}, d = dᵥ = ${data.width}`;
    const counted = (what, show, times = 1) => both(what).map((number, n) =>
      [times * number, show(times * number), times === 1 ? data.orders[n][what] : ""]);
    const measured = (what, show) => data.orders.map(({ name }) => {
      const method = data.recorded.find((own) => own.name === name);
      const value = method[what][method.tokens.indexOf(T)];
      return [value, value ? show(value) : "not recorded", ""];
    });
    const lines = [
      ["operations", "of the products", counted("operations", grouped)],
      ["grey matrix", "numbers", counted("numbers", grouped)],
      ["its memory", "single precision", counted("numbers", bytes, data.itemsize)],
      ["recorded time", at, measured("seconds", seconds)],
      ["recorded memory", at, measured("bytes", bytes)],
    ];
    body.replaceChildren(...lines.map(([name, more, [slow, fast]]) => make("tr", {},
      make("th", { scope: "row" }, name, make("small", {}, more)),
      [slow, fast].map(([, shown, formula]) => make("td", {}, shown, make("small", {}, formula))),
      make("td", {}, slow[0] ? rounded(slow[0] / fast[0]) : "–"))));
  }

  // Each line of the chart: its name, where it has points, and their costs.
  function lines() {
    return view in counts
      ? data.orders.map((order) => [order.name, lengths,
        lengths.map((T) => counts[view](order, { ...sizes, T }))])
      : data.recorded.map((method) => [method.name, method.tokens, method[view]]);
  }

  // The decades of the costs: of all that is recorded, or that the sliders reach.
  function decades() {
    const powers = (view in counts ? [1, ...both(view, data.largest)]
      : data.recorded.flatMap((method) => method[view])).map(Math.log10);
    return [Math.floor(Math.min(...powers)), Math.ceil(Math.max(...powers))];
  }

  // A line, its points, and its name beside a sample of it.
  function drawLine([name, tokens, costs], x, y, right, end, show) {
    const [colour, dash] = LOOKS[name], stroke = `var(--${colour})`;
    const look = { stroke, "stroke-width": 2, "stroke-dasharray": dash };
    const counted = view in counts, now = counted ? sizes.T : nearest();
    return make("g", { "data-line": name },
      make("polyline", { points: tokens.map((T, n) => `${x(T)},${y(costs[n])}`).join(" "),
        fill: "none", ...look }),
      tokens.map((T, n) => counted && T !== now ? [] : make("circle", { cx: x(T),
        cy: y(costs[n]), r: T === now ? 5 : 2.5, fill: stroke, "data-cost": costs[n] },
      make("title", {}, `${name}, T = ${grouped(T)}: ${show(costs[n])}`))),
      line(right + 8, end, right + 28, end, look),
      text(right + 33, end + 4, name, { ...LEFT, style: `fill: ${stroke}` }));
  }

  function drawChart() {
    const left = 60, right = 510, top = 24, bottom = 236, [low, high] = decades();
    const counted = view in counts, compared = ["operations", "seconds"].includes(view);
    const star = meeting(counted ? sizes : { d: data.width, v: data.width });
    const show = { seconds, bytes }[view] ?? grouped;
    const x = (T) => left + (right - left) * Math.log2(T) / Math.log2(lengths.at(-1));
    const y = (cost) => bottom - (bottom - top) * (Math.log10(cost) - low) / (high - low);
    const tick = (n) => view === "seconds" ? seconds(10 ** n)
      : `${n < 4 ? grouped(10 ** n) : `10${above(n)}`}${counted ? "" : " B"}`;
    const ups = [];
    for (let n = low; n <= high; n += Math.ceil((high - low) / 7)) ups.push(n);
    // The markers' words stand on the sides away from each other.
    const marker = (T, words, before, dash) => [
      line(x(T), 6, x(T), bottom, { stroke: "currentColor", "stroke-dasharray": dash }),
      text(x(T) + (before ? -5 : 5), 15, words, { "text-anchor": before ? "end" : "start" })];
    let end = Infinity;
    const all = lines().sort((a, b) => a[2].at(-1) - b[2].at(-1));
    plot.replaceChildren(drawing(`${VIEWS[view]} against the number of tokens`,
      `From the lowest at its end: ${all.map(([name]) => name).join(", ")}.`, WIDTH, 276,
      lengths.filter((T) => Math.log2(T) % 4 === 0).map((T) => [
        line(x(T), top, x(T), bottom), text(x(T), bottom + 17, grouped(T), GREY)]),
      ups.map((n) => [line(left, y(10 ** n), right, y(10 ** n)),
        text(left - 6, y(10 ** n) + 4, tick(n), { ...GREY, "text-anchor": "end" })]),
      text((left + right) / 2, bottom + 36, "tokens, T"),
      compared ? marker(star, `T* = ${grouped(star)}${counted ? "" : " by operations"}`,
        star <= sizes.T, "4 3") : [],
      marker(sizes.T, `T = ${grouped(sizes.T)}`, sizes.T < star),
      all.map((own) => {
        end = Math.min(y(own[2].at(-1)), end - 15);  // so that no names overlap
        return drawLine(own, x, y, right, end, show);
      })));
  }

  function conclude() {
    const [slow, fast] = both("operations"), star = meeting(sizes);
    const [dear, cheap] = slow < fast ? ["linear", "quadratic"] : ["quadratic", "linear"];
    const times = rounded(Math.max(slow / fast, fast / slow));
    say(verdict, `With T = ${grouped(sizes.T)}, d = ${sizes.d} and dᵥ = ${sizes.v}, ` +
      (slow === fast ? "both need the same number of operations. "
        : `${dear} needs ${times} times as many operations as ${cheap}. `) +
      `Linear needs fewer from T = ${grouped(Math.floor(star) + 1)} on: ` +
      `the counts are equal at T* = ${grouped(star)}.`);
  }

  function show() {
    [drawMatrices, fillTable, drawChart, conclude].forEach((part) => part());
  }

  const size = ([letter, all]) => slider(LETTERS[letter], { min: 0, max: all.length - 1,
    value: all.indexOf(sizes[letter]), show: (n) => grouped(all[n]),
    change: (n) => { sizes[letter] = all[n]; show(); } }).element;
  const seen = choice("Chart of", { value: view, options: Object.entries(VIEWS),
    change: (own) => { view = own; drawChart(); } });
  const verdict = said({ class: "play-said decision" }), note = make("p", { class: "scale" });
  const [matrices, plot, body] = ["div", "div", "tbody"].map((tag) => make(tag));
  const head = ["cost", "quadratic", "linear", "quadratic / linear"].map(
    (own) => make("th", { scope: "col" }, own));
  root.append(
    make("div", { class: "play-controls" }, Object.entries(data.steps).map(size)), verdict,
    wide("Both orders of multiplication", {}, matrices), note,
    wide("Costs", {}, make("table", {}, make("thead", {}, make("tr", {}, head)), body)),
    seen.element, wide("Costs against T", {}, plot));
  show();
});
