// Problem 4: the Vision Transformer, run in the page on images that the reader changes.
"use strict";

// The folder of this file, which is known while it is run for the first time only.
const vitFolder = document.currentScript.src.replace(/[^/]*$/, "");

play.define("vit", (root, data) => {
  const { make, slider, choice, button, said, say, wide, unique } = play;
  const { labels, classes, patch, heads, layers } = data;
  const SIDE = 28, side = SIDE / patch, T = side ** 2;
  const range = (n) => [...Array(n).keys()];
  const place = (k, wide) => [Math.floor(k / wide), k % wide];  // row and column
  const patchOf = (y, x) => side * Math.floor(y / patch) + Math.floor(x / patch);
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const images = bytes(data.images);
  const original = (k) => images.slice(k * SIDE ** 2, (k + 1) * SIDE ** 2);
  // What a tool leaves, and how far from the pointer, in pixels.
  const tools = { draw: { ink: 255, reach: 1.2 }, erase: { ink: 0, reach: 2.2 } };
  const ways = { Left: ["←", 0, -1], Right: ["→", 0, 1],
    Up: ["↑", -1, 0], Down: ["↓", 1, 0] };
  let shown = 0, at = (T - 1) / 2, layer = layers, times = [];
  let network, result, frame, last;  // none yet; `last` is where the pointer was

  const percent = (p) => (p > 0.9995 ? "> 99.9%" : p < 0.0005 ? "< 0.1%"
    : `${(100 * p).toFixed(1)}%`);
  const highest = (list) => list.indexOf(Math.max(...list));

  // Dark where a pixel is bright, as in the other figures.
  function paint(canvas, pixels) {
    const shades = Array.from(pixels, (byte) => [255 - byte, 255 - byte, 255 - byte, 255]);
    const image = new ImageData(new Uint8ClampedArray(shades.flat()), SIDE);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function change(pixels) {
    root.pixels = pixels;
    result = undefined;
    paint(canvas, pixels);
    later();
  }

  // The network runs once for what happens before the next frame.
  const later = () => { frame ??= requestAnimationFrame(show); };
  const edit = (rule) => change(root.pixels.map((byte, k) => rule(...place(k, SIDE), byte)));

  function shift(down, right) {
    const old = root.pixels, within = (z) => z >= 0 && z < SIDE;
    edit((row, column) => {
      const [y, x] = [row - down, column - right];
      return within(y) && within(x) ? old[y * SIDE + x] : 0;
    });
  }

  // By tags: a page that was opened from the disk may not fetch anything.
  async function load() {
    if (network || start.disabled) return;
    const held = document.activeElement === start;
    start.disabled = true;
    say(verdict, "Loading the network …");
    const files = ["vit-network.js", "vit-weights.js"].map((file) => new Promise((done, failed) => {
      document.head.append(make("script", { src: vitFolder + file, load: done,
        error: () => failed(new Error(`${vitFolder}${file} could not be loaded.`)) }));
    }));
    try {
      await Promise.all(files);
      network = vitNetwork(bytes(window.playWeights), data);
    } catch (error) {
      start.disabled = false;
      return say(verdict, error.message);
    }
    if (view.input.value === "patches") view.input.value = "rollout";
    start.replaceWith(speed);
    if (held) view.input.focus({ preventScroll: true });
    network.run(root.pixels);  // not measured: the browser compiles what runs often
    later();
  }

  // A number for each patch, and a sentence about them.
  function overlay() {
    const [row, column] = place(at, side), kind = view.input.value;
    const name = `Patch ${at} (row ${row + 1}, column ${column + 1})`;
    if (!result || kind === "patches") {
      return [undefined, `${name} is token ${at}, of ${patch ** 2} pixels.`];
    }
    if (kind === "rollout") {
      const fraction = percent(result.rollout[at]);
      return [result.rollout, `By rollout the fraction of ${name.toLowerCase()} is ${fraction}.`];
    }
    const one = query.input.value === "one", head = part.input.value;
    const queries = range(T).map((k) => (one ? Number(k === at) : 1 / T));
    const some = head === "mean" ? undefined : [head - 1];
    const values = network.taken(result.attention[layer - 1], queries, some);
    const most = highest(values), who = one ? `${name} takes` : "The patches, on average, take";
    return [values, `${who} most from patch ${most}, ${percent(values[most])}.`];
  }

  function show() {
    frame = undefined;
    if (network && !result) {
      const begun = performance.now();
      root.result = result = network.run(root.pixels);
      times = [performance.now() - begun, ...times].slice(0, 9);
      root.time = [...times].sort((a, b) => a - b)[times.length >> 1];
      speed.textContent = `Run in this page: ${Math.ceil(root.time)} ms an image.`;
    }
    const [values, text] = overlay();
    const [least, most] = values ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const shade = (k) => (values ? 0.9 * (values[k] - least) / (most - least || 1) : 0);
    cells.forEach((cell, k) => cell.setAttribute("opacity", shade(k)));
    stage.classList.toggle("covered", Boolean(values));
    const [row, column] = place(at, side);
    cursor.setAttribute("transform", `translate(${patch * column} ${patch * row})`);
    say(about, values ? `${text} White is ${percent(least)}, blue ${percent(most)}.` : text);
    for (const { input } of [depth, part, query]) input.disabled = view.input.value !== "attention";
    bars.forEach(([name, bar, number], k) => {
      name.textContent = classes[k] + (k === labels[shown] ? " (label)" : "");
      bar.style.width = `${result ? 100 * result.probabilities[k] : 0}%`;
      number.textContent = result ? percent(result.probabilities[k]) : "–";
    });
    const label = classes[labels[shown]];
    if (!result) return say(verdict, `Label: ${label}.`);
    const best = highest(result.probabilities), p = percent(result.probabilities[best]);
    say(verdict, `Predicted: ${classes[best]}, ${p}; label: ${label}.`);
  }

  function point(event) {
    const box = canvas.getBoundingClientRect(), clamp = (z) => Math.min(SIDE - 1, Math.max(0, z));
    const x = (event.clientX - box.left) / box.width * SIDE;
    const y = (event.clientY - box.top) / box.height * SIDE;
    const { ink, reach } = tools[tool.input.value] ?? {};
    if (reach) {
      // Wherever the way from where the pointer was comes near.
      const [dx, dy] = last ? [last[0] - x, last[1] - y] : [0, 0];
      const steps = 1 + Math.ceil(Math.hypot(dx, dy)), parts = range(steps).map((n) => n / steps);
      edit((row, column, byte) => {
        const [toX, toY] = [column + 0.5 - x, row + 0.5 - y];
        return parts.some((f) => Math.hypot(toX - f * dx, toY - f * dy) < reach) ? ink : byte;
      });
    } else at = patchOf(clamp(y), clamp(x));
    last = [x, y];
    later();
  }

  function press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const [, down, right] = ways[event.key.replace("Arrow", "")] ?? [];
    const [row, column] = place(at, side);
    const within = (z) => z >= 0 && z < side, { ink } = tools[tool.input.value] ?? {};
    if (right !== undefined) {
      if (within(row + down) && within(column + right)) at += side * down + right;
    } else if (event.key !== "Enter" && event.key !== " ") return;
    else if (ink !== undefined) edit((y, x, byte) => (patchOf(y, x) === at ? ink : byte));
    event.preventDefault();
    later();
  }

  const sheet = (more) => make("canvas", { width: SIDE, height: SIDE, ...more });
  const group = unique("image");
  const pictures = range(labels.length).map((k) => make("input", {
    type: "radio", name: group, checked: k === 0,
    "aria-label": `Image ${k + 1}, ${classes[labels[k]]}`, title: classes[labels[k]],
    style: `background-image: url(${paint(sheet(), original(k)).toDataURL()})`,
    change: () => { shown = k; change(original(k)); } }));

  const asked = () => { load(); later(); };
  const view = choice("Show", { value: "patches",
    options: ["patches", "attention", "rollout"].map((own) => [own, own]),
    change: (own) => (own === "patches" ? later() : asked()) });
  const depth = slider("Layer", { min: 1, max: layers, value: layer,
    change: (own) => { layer = own; later(); } });
  const part = choice("Head", { value: "mean", change: later,
    options: [["mean", "mean"], ...range(heads).map((h) => [String(h + 1), String(h + 1)])] });
  const query = choice("Query", { value: "one", change: later,
    options: [["one", "framed patch"], ["all", "mean of all"]] });
  const tool = choice("Tool", { value: "choose",
    change: (own) => stage.classList.toggle("drawn", own in tools),
    options: [["choose", "choose a patch"], ["draw", "draw"], ["erase", "erase"]] });
  const arrows = Object.entries(ways).map(([name, [sign, down, right]]) =>
    button(sign, () => shift(down, right),
      { "aria-label": `Move ${name.toLowerCase()} by a pixel` }));

  const help = make("small", { id: unique("help") },
    "Keys on the image: arrows move the frame, Enter draws or erases its patch.");
  const release = () => { last = undefined; };
  const canvas = sheet({ tabindex: 0, role: "application", "aria-describedby": help.id,
    "aria-label": `The image, ${SIDE} by ${SIDE} pixels in ${side} by ${side} patches`,
    keydown: press, pointerup: release, pointercancel: release,
    pointermove: (event) => { if (last) point(event); },
    pointerdown: (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      point(event);
    } });
  const square = (k, more) => make("rect", { width: patch, height: patch,
    x: patch * place(k, side)[1], y: patch * place(k, side)[0], ...more });
  const cells = range(T).map((k) => square(k, { class: "cell" }));
  const cursor = square(0, { class: "cursor" });
  const stage = make("div", { class: "stage" }, canvas,
    make("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" },
      cells, range(T).map((k) => square(k, { class: "grid" })), cursor));

  const start = button(`Run the network in this page (${data.megabytes} MB)`, load);
  const speed = make("p");
  const about = said({ class: "play-said about" }), verdict = said({ class: "play-said verdict" });
  const bars = classes.map(() => [make("span"), make("i"), make("span", { class: "number" })]);
  const controls = (...parts) => make("div", { class: "play-controls" }, parts);
  root.append(
    wide("Images", {},
      make("div", { class: "images", role: "radiogroup", "aria-label": "Image" }, pictures)),
    controls(view.element, depth.element, part.element, query.element),
    make("div", { class: "halves" },
      make("div", {}, stage, controls(tool.element, make("div", { class: "moves" }, "Move", arrows,
        button("Reset", () => change(original(shown))))), help),
      make("div", {}, make("div", { class: "run" }, start), verdict,
        bars.map(([name, bar, number]) =>
          make("div", { class: "odds" }, name, make("b", {}, bar), number)), about)));
  change(original(0));
  show();
});
