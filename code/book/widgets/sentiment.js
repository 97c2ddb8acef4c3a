// Problem 5: what each token of a review contributes, and what reading padding changes.
"use strict";

play.define("sentiment", (root, data) => {
  const { make, drawing, line, slider, choice, said, say } = play;
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const called = (positive) => (positive ? "positive" : "negative");
  const short = (name) => name.replace("sentiment-", "");
  const panel = (name, ...parts) => make("div", { class: name }, parts);

  // Two models on the same reviews: the text, each token coloured by its effect.
  function tokens() {
    const names = Object.keys(data.models);
    let models = [...data.shown], group = 0, at; // at: a review, and a token of it

    const scale = panel("scale"), list = panel("reviews");
    const readout = said({ class: "play-said readout" });
    const reviews = choice("Reviews", { options: data.groups.map(([name], k) => [String(k), name]),
      value: "0", change: (k) => { group = Number(k); at = heaviest(); show(); } });
    const selects = ["First model", "Second model"].map((label, k) => choice(label, {
      options: names.map((name) => [name, name]), value: models[k], change: (name) => {
        // The same model twice says nothing: the two change places.
        if (models[1 - k] === name) models[1 - k] = models[k];
        models[k] = name;
        selects.forEach(({ input }, i) => { input.value = models[i]; });
        show();
      } }));

    const shown = () => data.groups[group][1];
    const effects = (model, review) => data.models[model][review].effects;

    // The token of the first review that moves the logit of the first model most.
    function heaviest() {
      const sizes = effects(models[0], shown()[0]).map(Math.abs);
      return [0, sizes.indexOf(Math.max(...sizes))];
    }

    function move(event, column) {
      const [row, k] = at, counts = shown().map((review) => effects(names[0], review).length);
      const to = {
        ArrowRight: k + 1 < counts[row] ? [row, k + 1] : [row + 1, 0],
        ArrowLeft: k > 0 ? [row, k - 1] : [row - 1, counts[row - 1] - 1],
        ArrowDown: [row + 1, Math.min(k, counts[row + 1] - 1)],
        ArrowUp: [row - 1, Math.min(k, counts[row - 1] - 1)],
        Home: [row, 0],
        End: [row, counts[row] - 1],
      }[event.key];
      if (!to || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      list.querySelector(`[data-at="${column} ${to}"]`)?.focus();
    }

    // Which token is read out; in each column it alone is reached by the Tab key.
    function choose(row, k) {
      at = [row, k];
      for (const token of list.querySelectorAll("[data-at]")) {
        const chosen = token.dataset.at.endsWith(` ${at}`);
        token.setAttribute("aria-selected", chosen);
        token.tabIndex = chosen ? 0 : -1;
      }
      const review = shown()[row];
      const parts = models.map((model) => {
        const effect = effects(model, review)[k];
        return Math.abs(effect) < 0.005 ? `0.00 for ${short(model)}`
          : `${signed(effect)} for ${short(model)}, speaks for ${called(effect > 0)}`;
      });
      const token = data.reviews[review].pieces[2 * k + 1];
      say(readout, `“${token}” in review ${row + 1}: ${parts.join("; ")}.`);
    }

    function text(review, row, column, largest) {
      const model = models[column], of = data.models[model][review];
      const parts = data.reviews[review].pieces.map((piece, i) => {
        if (i % 2 === 0) return piece;
        const k = (i - 1) / 2, share = of.effects[k] / largest;
        const go = () => choose(row, k);
        return make("span", { role: "option", style: `--share: ${Math.abs(share).toFixed(3)}`,
          class: `${share > 0 ? "up" : "down"} ${Math.abs(share) < 0.1 ? "slight" : ""}`,
          "data-at": `${column} ${row},${k}`, focus: go, pointerenter: go }, piece);
      });
      const right = of.p > 0.5 === (data.reviews[review].label === 1);
      return make("div", {},
        make("p", { role: "listbox", "aria-orientation": "horizontal", class: "text",
          "aria-label": `Tokens of review ${row + 1}, ${model}`,
          keydown: (event) => move(event, column) }, parts),
        make("p", { class: "verdict" }, `${short(model)}: P(positive) ${of.p.toFixed(3)}, `,
          `logit ${signed(of.logit)}`, right ? "" : make("b", {}, ", wrong")));
    }

    function show() {
      const all = shown().flatMap((review) => models.flatMap((model) => effects(model, review)));
      const largest = Math.max(...all.map(Math.abs));
      list.replaceChildren(...shown().map((review, row) => panel("pair review",
        make("p", { class: "about" }, `Review ${row + 1}, labelled `,
          called(data.reviews[review].label === 1)),
        [0, 1].map((column) => text(review, row, column, largest)))));
      scale.replaceChildren(
        make("span", { class: "ends" }, signed(-largest), make("span", { class: "ramp" }),
          signed(largest)),
        "the logit with the token minus that without it:",
        make("span", { class: "down" }, "for negative"),
        make("span", { class: "up" }, "for positive"));
      choose(...at);
    }

    root.append(reviews.element, panel("pair", selects.map(({ element }) => element)), scale, list,
      readout, make("p", { class: "hint" },
        "Point to a token, or go from token to token by the arrow keys. ",
        "Lines are drawn from a tenth of the scale on."));
    at = heaviest();
    show();
  }

  // Recorded predictions against the amount of padding that is read.
  function padding() {
    const W = 340, H = 216, left = 46, right = 332, top = 8, bottom = 178;
    const parts = ["none", "¼", "½", "¾", "all"], kinds = ["one", "two"];
    const probability = (logit) => 1 / (1 + Math.exp(-logit));
    let view = "given";
    const steps = { given: data.amounts.length - 1, watched: data.watched.length - 1 };
    const chart = panel("chart"), keys = panel("keys"), verdict = said();

    const Y = (p) => bottom - (bottom - top) * p;
    const key = (name, content) => make("span", { class: "key" },
      make("span", { class: `sign ${name}`, "aria-hidden": "true" }), content);

    // A dot, a square or a triangle: what stands for what is not told by colour alone.
    const mark = (shape, x, y, r, name) => make("path", { class: name, d: {
      dot: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
      square: `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
      triangle: `M${x} ${y - 1.2 * r}l${1.2 * r} ${2.2 * r}h${-2.4 * r}z`,
    }[shape] });

    function axes(X, ticks, across, upwards) {
      const end = X(ticks.at(-1)), middle = (top + bottom) / 2;
      return [[0, 0.5, 1].map((p) => [line(left, Y(p), end, Y(p)),
        play.text(left - 6, Y(p) + 4, p, { "text-anchor": "end" })]),
      ticks.map((value) => play.text(X(value), bottom + 15, value)),
      play.text((left + end) / 2, H - 6, across),
      play.text(9, middle, upwards, { transform: `rotate(-90 9 ${middle})` })];
    }

    function given(k) {
      const X = (amount) => left + ((right - left) * amount) / 500, here = X(data.amounts[k]);
      const curves = (logits) => data.texts.map((_, i) => logits.map((row) => probability(row[i])));
      const read = curves(data.given), masked = curves(data.masked);
      const curve = (list, name) => make("polyline", { class: `curve ${name}`,
        points: list.map((p, j) => `${X(data.amounts[j])},${Y(p)}`).join(" ") });
      const about = data.texts.map((text, i) => `${text} ` + read[i].map((p, j) =>
        `${data.amounts[j]} tokens: ${p.toFixed(3)}`).join(", "));
      chart.replaceChildren(drawing("P(positive) against the padding behind a review",
        about.join(". "), W, H,
        axes(X, [0, 100, 200, 300, 400, 500], "tokens of padding", "P(positive)"),
        line(here, top, here, bottom, { stroke: "var(--grey)" }),
        kinds.map((kind, i) => [curve(masked[i], `masked ${kind}`), curve(read[i], kind),
          read[i].map((p, j) => mark(i ? "square" : "dot", X(data.amounts[j]), Y(p),
            j === k ? 5 : 2.2, kind))])));
      keys.replaceChildren(...data.texts.map((text, i) => key(kinds[i], `“${text}”`)),
        key("dashes", `the same reviews by ${data.masking}, which masks padding`));
      const moves = read.map((p) => `${p[k].toFixed(3)} (${signed(p[k] - p[0])})`);
      const still = masked.every((p) => Math.abs(p[k] - p[0]) < 5e-4);
      say(verdict, `With ${data.amounts[k]} tokens of padding that are read, ` +
        `P(positive) of the two reviews is ${moves.join(" and ")}; in brackets the change ` +
        "from no padding. " +
        `${data.masking} masks the padding and gives ` +
        `${masked.map((p) => p[k].toFixed(3)).join(" and ")}${still ? " whatever it is" : ""}.`);
    }

    function watched(k) {
      const X = (p) => left + (bottom - top) * p, half = X(0.5) - left;
      const before = data.watched[0].map(probability), now = data.watched[k].map(probability);
      const changed = now.map((p, i) => p > 0.5 !== before[i] > 0.5);
      const count = changed.filter(Boolean).length;
      const moves = now.map((p, i) => Math.abs(p - before[i]));
      const mean = moves.reduce((a, b) => a + b) / moves.length;
      const square = (x, y) => make("rect", { x, y, width: half, height: half, class: "changed" });
      chart.replaceChildren(drawing("P(positive) with padding against that without",
        `${now.length} reviews, of which ${count} change their class.`, X(1) + 12, H,
        square(left, top), square(X(0.5), Y(0.5)),
        axes(X, [0, 0.5, 1], "P(positive) without padding", "P(positive) with it"),
        line(X(0), Y(0), X(1), Y(1), { stroke: "var(--grey)", "stroke-dasharray": "5 4" }),
        now.map((p, i) => mark(changed[i] ? "triangle" : "dot", X(before[i]), Y(p), 2.8,
          changed[i] ? "two" : "one"))));
      keys.replaceChildren(key("one", "same class as without padding"),
        key("two triangle", "another class"), key("dashes", "no change, as with padding masked"));
      say(verdict, `With ${parts[k]} of the padding that is missing to ${data.limit} tokens, ` +
        `P(positive) of the ${now.length} reviews, of at most ${data.short} tokens, differs ` +
        `from that without padding by ${mean.toFixed(2)} on average and by up to ` +
        `${Math.max(...moves).toFixed(2)}; the class of ${count} differs.`);
    }

    function show() {
      root.dataset.view = view;
      ({ given, watched })[view](steps[view]);
    }
    const amount = slider("Padding", { min: 0, max: steps.given, value: steps.given,
      show: (k) => (view === "given" ? `${data.amounts[k]} tokens` : parts[k]),
      change: (k) => { steps[view] = k; show(); } });
    const which = choice("Shown", { value: view, options: [["given", "the two reviews of Q4a"],
      ["watched", `${data.watched[0].length} short test reviews`]], change: (name) => {
      view = name;
      amount.input.max = (view === "given" ? data.amounts : data.watched).length - 1;
      amount.set(steps[view]);
      show();
    } });
    root.append(panel("play-controls", which.element, amount.element),
      panel("beside", chart, keys), verdict);
    show();
  }

  (data.models ? tokens : padding)();
});
