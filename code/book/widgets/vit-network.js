// Problem 4: the Vision Transformer in plain JavaScript. The page loads this file, and
// the weights, when the reader asks for them.
"use strict";

// The network whose weights are in `file`, the bytes of a safetensors file. The form of
// the network and the numbers it needs besides are in `of`, by the names that hw2.vit has.
function vitNetwork(file, of) {
  const SIDE = 28, { patch, heads, layers } = of;
  const side = SIDE / patch, T = side ** 2, size = patch ** 2;
  const range = (n) => [...Array(n).keys()];
  const w = tensors();

  // The file: the length of a header, the header, and the numbers that it tells of.
  function tensors() {
    const view = new DataView(file.buffer), start = 8 + view.getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start)));
    const found = {};
    for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(header)) {
      if (name === "__metadata__") continue;
      if (dtype !== "F16") throw new TypeError(`${name} is ${dtype}, expected F16`);
      found[name] = new Float32Array((to - from) / 2)
        .map((_, k) => half(view.getUint16(start + from + 2 * k, true)));
    }
    return found;
  }

  // A number in half precision, from its bits.
  function half(bits) {
    const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
    return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
  }

  // A matrix is its rows, one after the other. Those of tokens are multiplied with those
  // of the weights, so that both are read in order. Each sum is four, for every fourth
  // product, because an addition waits for the one before it: all widths are multiples of 4.
  function linear(x, name) {
    const weight = w[`${name}.weight`], bias = w[`${name}.bias`];
    const wide = weight.length / bias.length, y = new Float32Array(x.length / wide * bias.length);
    for (let k = 0, row = 0; row < x.length; row += wide) {
      for (let o = 0; o < bias.length; o++, k++) {
        let a = bias[o], b = 0, c = 0, d = 0;
        for (let i = row, j = o * wide; i < row + wide; i += 4, j += 4) {
          a += x[i] * weight[j];
          b += x[i + 1] * weight[j + 1];
          c += x[i + 2] * weight[j + 2];
          d += x[i + 3] * weight[j + 3];
        }
        y[k] = a + b + c + d;
      }
    }
    return y;
  }

  function norm(x, name) {
    const weight = w[`${name}.weight`], bias = w[`${name}.bias`], wide = bias.length;
    const y = new Float32Array(x.length);
    for (let row = 0; row < x.length; row += wide) {
      let mean = 0, variance = 0;
      for (let i = 0; i < wide; i++) mean += x[row + i] / wide;
      for (let i = 0; i < wide; i++) variance += (x[row + i] - mean) ** 2 / wide;
      const scale = 1 / Math.sqrt(variance + of.eps);
      for (let i = 0; i < wide; i++) y[row + i] = (x[row + i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }

  // By the error function, to 1.5e-7: Abramowitz and Stegun, formula 7.1.26.
  function gelu(x) {
    const z = Math.abs(x) / Math.SQRT2, t = 1 / (1 + 0.3275911 * z);
    const factors = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
    let sum = 0;
    for (let i = 0; i < 5; i++) sum = t * (factors[i] + sum);
    return (x + Math.abs(x) * (1 - sum * Math.exp(-z * z))) / 2;
  }

  function softmax(scores) {
    const highest = Math.max(...scores), odds = scores.map((score) => Math.exp(score - highest));
    const sum = odds.reduce((a, b) => a + b);
    return odds.map((odd) => odd / sum);
  }

  // How much each token takes of each, by head, (heads, T, T), and what it is given.
  function attend(qkv) {
    const width = qkv.length / T / 3, own = width / heads;
    const weights = new Float32Array(heads * T * T), given = new Float32Array(T * width);
    // Where in `qkv` a head has its query (0), key (1) or value (2) of a token.
    const begin = (kind, token, head) => (3 * token + kind) * width + head * own;
    for (let h = 0; h < heads; h++) for (let t = 0; t < T; t++) {
      const scores = new Float32Array(T), q = begin(0, t, h), out = t * width + h * own;
      for (let s = 0; s < T; s++) {
        let sum = 0;
        for (let i = 0, k = begin(1, s, h); i < own; i++) sum += qkv[q + i] * qkv[k + i];
        scores[s] = sum / Math.sqrt(own);
      }
      const row = softmax(scores);
      weights.set(row, (h * T + t) * T);
      for (let s = 0; s < T; s++) {
        for (let i = 0, v = begin(2, s, h); i < own; i++) given[out + i] += row[s] * qkv[v + i];
      }
    }
    return { weights, given };
  }

  // How much is taken of each patch, as the mean of `some` heads: `queries` says how much
  // each patch counts that takes.
  function taken(weights, queries, some = range(heads)) {
    const fractions = new Float32Array(T);
    for (const h of some) for (let t = 0; t < T; t++) for (let s = 0; s < T; s++) {
      fractions[s] += queries[t] * weights[(h * T + t) * T + s] / some.length;
    }
    return fractions;
  }

  // For the 784 bytes of an image.
  function run(pixels) {
    const tokens = new Float32Array(SIDE ** 2), attention = [];
    pixels.forEach((byte, k) => {
      const y = Math.floor(k / SIDE), x = k % SIDE;
      const token = side * Math.floor(y / patch) + Math.floor(x / patch);
      tokens[size * token + patch * (y % patch) + x % patch] = (byte / 255 - of.mean) / of.std;
    });
    const x = linear(tokens, "embed");
    const add = (more) => more.forEach((value, k) => { x[k] += value; });
    add(w.positions);
    for (let l = 0; l < layers; l++) {
      const block = `blocks.${l}`, read = norm(x, `${block}.norm1`);
      const { weights, given } = attend(linear(read, `${block}.attention.qkv`));
      attention.push(weights);
      add(linear(given, `${block}.attention.out`));
      add(linear(linear(norm(x, `${block}.norm2`), `${block}.mlp.0`).map(gelu), `${block}.mlp.2`));
    }
    const mean = new Float32Array(x.length / T);
    norm(x, "norm").forEach((value, k) => { mean[k % mean.length] += value / T; });
    const logits = linear(mean, "classify");
    // Rollout, from the last layer back: half of a token is itself.
    const rollout = attention.reduceRight(
      (shares, weights) => taken(weights, shares).map((share, k) => (share + shares[k]) / 2),
      new Float32Array(T).fill(1 / T));
    return { logits, probabilities: softmax(logits), attention, rollout };
  }

  return { run, taken };
}
