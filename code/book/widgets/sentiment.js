// Problem 5: what each token of a review contributes, and what reading padding changes.
"use strict";

play.define("sentiment", (root, data) => {
  const { make, drawing, slider, choice, said } = play;
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
  const probability = (logit) => 1 / (1 + Math.exp(-logit));
  const called = (positive) => (positive ? "positive" : "negative");
  const panel = (...parts) => make("div", { class: "play-controls" }, parts);
  const key = (className, text) => make("span", { class: "key" },
    make("span", { class: className, "aria-hidden": "true" }), text);

  // Two models on the same reviews: the text, each token coloured by its effect.
  function tokens() {
    const names = Object.keys(data.models);
    let models = [...data.shown], group = 0, at = [0, 0]; // at: a review, a token of it

    const scale = make("p", { class: "scale" });
    const readout = said({ class: "play-said readout" });
    const list = make("div", { class: "reviews" });
    const selects = [0, 1].map((k) => choice(k ? "beside" : "Model",
      { options: names.map((name) => [name, name]), value: models[k],
        change: (name) => {
          // The same model twice says nothing: the other one takes its place.
          if (models[1 - k] === name) models[1 - k] = models[k];
          models[k] = name;
          selects.forEach(({ input }, i) => { input.value = models[i]; });
          show();
        } }));
    const reviews = choice("Reviews", { options: data.groups.map(([name], k) => [String(k), name]),
      value: "0", change: (k) => { group = Number(k); at = heaviest(); show(); } });

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
      if (to[0] < 0 || to[0] >= counts.length) return;
      choose(...to);
      list.querySelector(`[data-at="${column} ${at}"]`).focus();
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
        return `${signed(effect)} for ${model}, speaks for ${called(effect > 0)}`;
      });
      readout.textContent =
        `“${data.reviews[review].pieces[2 * k + 1]}” in review ${row + 1}: ${parts.join("; ")}.`;
    }

    function text(review, row, column, largest) {
      const model = models[column];
      const parts = data.reviews[review].pieces.map((piece, i) => {
        if (i % 2 === 0) return piece;
        const k = (i - 1) / 2, effect = effects(model, review)[k];
        const share = Math.round((45 * Math.abs(effect)) / largest);
        const go = () => choose(row, k);
        return make("span", { role: "option", class: effect > 0 ? "up" : "down",
          style: `--share: ${share}%`, "data-at": `${column} ${row},${k}`,
          focus: go, pointerenter: go, click: go }, piece);
      });
      const of = data.models[model][review];
      return make("div", {},
        make("p", { role: "listbox", "aria-orientation": "horizontal", class: "text",
          "aria-label": `Tokens of review ${row + 1}, ${model}`,
          keydown: (event) => move(event, column) }, parts),
        make("p", { class: "verdict" }, `${model}: logit ${signed(of.logit)}, P(positive) `,
          `${of.p.toFixed(3)}, ${called(of.p > 0.5)}`));
    }

    function show() {
      const all = shown().flatMap((review) => models.flatMap((model) => effects(model, review)));
      const largest = Math.max(...all.map(Math.abs));
      list.replaceChildren(...shown().map((review, row) => make("div", { class: "review" },
        make("p", { class: "about" }, `Review ${row + 1}, to a reader `,
          make("b", {}, called(data.reviews[review].label))),
        [0, 1].map((column) => text(review, row, column, largest)))));
      scale.replaceChildren(
        make("span", { class: "down" }, `${signed(-largest)}, for negative`),
        make("span", { class: "ramp", "aria-hidden": "true" }),
        make("span", { class: "up" }, `${signed(largest)}, for positive`),
        make("span", {}, "the logit with the token minus that without it"));
      choose(...at);
    }

    root.append(panel(reviews.element, selects.map(({ element }) => element)), scale, list,
      readout, make("p", { class: "hint" }, "Point to a token, or go from token to token by ",
        "the arrow keys. Underlined: for positive; dashed: for negative."));
    at = heaviest();
    show();
  }

  // Recorded predictions against the amount of padding that is read.
  function padding() {
    const views = { given: "the two reviews of Q4a",
      watched: `${data.watched[0].length} short test reviews` };
    const parts = ["none", "¼", "½", "¾", "all"];
    let view = "given";
    const steps = { given: data.amounts.length - 1, watched: data.watched.length - 1 };
    const chart = make("div", { class: "chart" }), keys = make("p", { class: "keys" });
    const wide = make("div", { class: "play-wide", tabindex: 0, role: "group",
      "aria-label": "Chart" }, chart);
    const verdict = said();
    const W = 400, H = 236, left = 40, right = 388, top = 10, bottom = 196;
    const Y = (p) => bottom - (bottom - top) * p;
    const label = (x, y, content, more = {}) =>
      make("text", { x, y, "font-size": 12, "text-anchor": "middle", ...more }, content);
    const line = (x1, y1, x2, y2, more = {}) =>
      make("line", { x1, y1, x2, y2, stroke: "var(--faint)", ...more });
    const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;

    // A dot, a square or a triangle: what stands for what is not told by colour alone.
    function mark(shape, x, y, size, className) {
      const d = {
        dot: `M${x - size} ${y}a${size} ${size} 0 1 0 ${2 * size} 0a${size} ${size} 0 1 0 ${-2 * size} 0`,
        square: `M${x - size} ${y - size}h${2 * size}v${2 * size}h${-2 * size}z`,
        triangle: `M${x} ${y - 1.2 * size}l${1.2 * size} ${2.2 * size}h${-2.4 * size}z`,
      }[shape];
      return make("path", { d, class: className });
    }

    function axes(X, ticks, about, name) {
      const halves = [0, 0.5, 1];
      return [halves.map((p) => [line(left, Y(p), X(ticks.at(-1)), Y(p)),
        label(left - 6, Y(p) + 4, String(p), { "text-anchor": "end" })]),
      ticks.map((value) => label(X(value), bottom + 16, String(value))),
      label((left + X(ticks.at(-1))) / 2, H - 6, about),
      label(10, (top + bottom) / 2, name, { transform: `rotate(-90 10 ${(top + bottom) / 2})` })];
    }

    function given() {
      const k = steps.given, X = (amount) => left + ((right - left) * amount) / 500;
      const curves = (logits) => data.texts.map((_, i) => logits.map((row) => probability(row[i])));
      const read = curves(data.given), masked = curves(data.masked), kinds = ["one", "two"];
      const points = (curve) => curve.map((p, i) => `${X(data.amounts[i])},${Y(p)}`).join(" ");
      const here = X(data.amounts[k]);
      chart.replaceChildren(drawing("P(positive) against the tokens of padding behind a review",
        data.texts.map((text, i) => `${text} Read: ${read[i].map((p, j) =>
          `${data.amounts[j]} tokens ${p.toFixed(3)}`).join(", ")}.`).join(" "), W, H,
        axes(X, [0, 100, 200, 300, 400, 500], "tokens of padding", "P(positive)"),
        line(here, top, here, bottom, { stroke: "var(--grey)" }),
        kinds.map((kind, i) => [
          make("polyline", { points: points(masked[i]), class: `curve masked ${kind}` }),
          make("polyline", { points: points(read[i]), class: `curve ${kind}` }),
          read[i].map((p, j) => mark(i ? "square" : "dot", X(data.amounts[j]), Y(p),
            j === k ? 5.5 : 2.5, `${kind}${j === k ? " chosen" : ""}`))])));
      keys.replaceChildren(...data.texts.map((text, i) => key(`sign ${kinds[i]}`, `“${text}”`)),
        key("sign dashes", `masked, ${data.masking}`));
      const moves = data.texts.map((text, i) => {
        const [p, before] = [read[i][k], read[i][0]];
        return `“${text}” P(positive) is ${p.toFixed(3)}, ${called(p > 0.5)}` +
          (k ? `, ${signed(p - before)} from that without padding` : "");
      });
      const still = masked.map((curve) => curve[k].toFixed(3)).join(" and ");
      verdict.textContent = `Padding read, ${data.amounts[k]} tokens of it: for ${moves.join("; for ")}. ` +
        `Padding masked, ${data.masking}: ${still}` +
        (masked.every((curve) => Math.abs(curve[k] - curve[0]) < 5e-4)
          ? `${k ? ", as without padding." : "."}` : ", not as without padding.");
    }

    function watched() {
      const k = steps.watched, X = (p) => left + (bottom - top) * p;
      const before = data.watched[0].map(probability), now = data.watched[k].map(probability);
      const flips = now.map((p, i) => (p > 0.5) !== (before[i] > 0.5));
      const moved = now.map((p, i) => Math.abs(p - before[i]));
      const count = flips.filter(Boolean).length;
      chart.replaceChildren(drawing("P(positive) with padding against P(positive) without",
        `${now.length} reviews; ${count} of them change their class.`, W, H,
        [[0, 0], [0.5, 0.5]].map(([x, y]) => make("rect", { x: X(x), y: Y(1 - y), width: X(0.5) - left,
          height: X(0.5) - left, class: "changed" })),
        axes(X, [0, 0.5, 1], "P(positive) without padding", "with padding"),
        line(X(0), Y(0), X(1), Y(1), { stroke: "var(--grey)", "stroke-dasharray": "5 4" }),
        now.map((p, i) => mark(flips[i] ? "triangle" : "dot", X(before[i]), Y(p), 3,
          flips[i] ? "two review" : "one review"))));
      keys.replaceChildren(key("sign one", "class as without padding"),
        key("sign two triangle", "class changed"),
        key("sign dashes", "no change, as where the padding is masked"));
      verdict.textContent = k === 0
        ? `No padding: the ${now.length} reviews, of at most ${data.short} tokens, are on the diagonal.`
        : `With ${parts[k]} of the padding that is missing to ${data.limit} tokens, P(positive) of the ` +
          `${now.length} reviews moves by ${mean(moved).toFixed(2)} on average and by up to ` +
          `${Math.max(...moved).toFixed(2)}; the class of ${count} changes.`;
    }

    const show = () => ({ given, watched })[view]();
    const amount = slider("Padding", { min: 0, max: steps.given, value: steps.given,
      show: (k) => (view === "given" ? `${data.amounts[k]} tokens` : parts[k]),
      change: (k) => { steps[view] = k; show(); } });
    const which = choice("Shown", { options: Object.entries(views), value: view, change: (name) => {
      view = name;
      amount.input.max = view === "given" ? data.amounts.length - 1 : data.watched.length - 1;
      amount.set(steps[view]);
      show();
    } });
    root.append(panel(which.element, amount.element), wide, keys, verdict);
    show();
  }

  root.classList.add(data.models ? "tokens" : "padding");
  (data.models ? tokens : padding)();
});
