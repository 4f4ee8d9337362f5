/* Drawing on canvases: the landscape (made once a problem, size and theme), the paths over it, and the curves.
   Lengths are in CSS pixels; the landscape alone counts device pixels. */
"use strict";
(function (vhat) {
  const TAU = 2 * Math.PI;
  const FAR = 1e5;

  /** The page's colours, read from its style sheet. */
  vhat.palette = function () {
    const css = getComputedStyle(document.documentElement);
    const read = (name) => css.getPropertyValue(`--${name}`).trim();
    const colours = Object.fromEntries(vhat.rules.map((r) => [r.id, read(`rule-${r.id.replaceAll("_", "-")}`)]));
    return { paper: read("paper"), ink: read("ink"), quiet: read("quiet"), rule: read("rule"), deep: read("deep"), colours };
  };

  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  /** A canvas of `size` CSS pixels that is sharp on this screen. */
  vhat.fit = function (canvas, width, height) {
    const ratio = Math.min(2, globalThis.devicePixelRatio || 1);
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    const context = canvas.getContext("2d");
    context.setTransform(w / width, 0, 0, h / height, 0, 0);
    return context;
  };

  /** From the plane to the canvas. */
  vhat.scaleOf = function (view, size) {
    const [left, right, bottom, top] = view;
    return {
      x: (x) => ((x - left) / (right - left)) * size,
      y: (y) => ((top - y) / (top - bottom)) * size,
      invert: (px, py) => [left + (px / size) * (right - left), top - (py / size) * (top - bottom)],
    };
  };

  /** Shades by height, and contour lines as wide in flat as in steep places. */
  vhat.landscape = function (problem, size, palette) {
    const canvas = document.createElement("canvas");
    const context = vhat.fit(canvas, size, size);
    const n = canvas.width;
    const scale = vhat.scaleOf(problem.view, n);
    const level = new Float32Array(n * n);
    let [low, high] = [Infinity, -Infinity];
    for (let j = 0, k = 0; j < n; j++) {
      for (let i = 0; i < n; i++, k++) {
        const [x, y] = scale.invert(i + 0.5, j + 0.5);
        const value = problem.level(x, y);
        level[k] = value;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    const image = context.createImageData(n, n);
    const [paper, deep, ink] = [palette.paper, palette.deep, palette.ink].map(channels);
    const width = 0.5 * (n / size) * 0.9;
    for (let j = 0, k = 0; j < n; j++) {
      for (let i = 0; i < n; i++, k++) {
        const across = i + 1 < n ? level[k + 1] - level[k] : level[k] - level[k - 1];
        const down = j + 1 < n ? level[k + n] - level[k] : level[k] - level[k - n];
        const steep = Math.hypot(across, down) || 1e-9;
        const away = Math.abs(level[k] - Math.round(level[k])) / steep;
        const line = 0.3 * Math.min(1, Math.max(0, width + 0.5 - away)) * Math.min(1, 0.35 / steep);
        const depth = 0.9 * (1 - (level[k] - low) / (high - low || 1));
        for (let c = 0; c < 3; c++) {
          const shade = paper[c] + depth * (deep[c] - paper[c]);
          image.data[4 * k + c] = shade + line * (ink[c] - shade);
        }
        image.data[4 * k + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
    if (problem.game) arrows(context, problem, size, palette);
    axes(context, problem, size, palette);
    return canvas;
  };

  /** Where descent goes: against the field. */
  function arrows(context, problem, size, palette) {
    const scale = vhat.scaleOf(problem.view, size);
    const count = 11;
    const cell = size / count;
    const g = new Float64Array(2);
    const longest = Math.hypot(problem.view[1], problem.view[3]);
    context.strokeStyle = context.fillStyle = palette.quiet;
    context.globalAlpha = 0.5;
    context.lineWidth = 1.2;
    for (let j = 0; j < count; j++) {
      for (let i = 0; i < count; i++) {
        const [px, py] = [(i + 0.5) * cell, (j + 0.5) * cell];
        problem.field(scale.invert(px, py), g);
        const norm = Math.hypot(g[0], g[1]);
        if (norm < 1e-9) continue;
        const length = cell * (0.2 + 0.55 * (norm / longest));
        context.save();
        context.translate(px, py);
        context.rotate(Math.atan2(g[1], -g[0]));
        context.beginPath();
        context.moveTo(-length / 2, 0);
        context.lineTo(length / 2 - 3, 0);
        context.stroke();
        context.beginPath();
        context.moveTo(length / 2, 0);
        context.lineTo(length / 2 - 5, -2.6);
        context.lineTo(length / 2 - 5, 2.6);
        context.fill();
        context.restore();
      }
    }
    context.globalAlpha = 1;
  }

  function axes(context, problem, size, palette) {
    const scale = vhat.scaleOf(problem.view, size);
    const [left, right, bottom, top] = problem.view;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = palette.quiet;
    context.textBaseline = "alphabetic";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = palette.paper;
    const write = (words, px, py) => {
      context.strokeText(words, px, py);
      context.fillText(words, px, py);
    };
    for (let x = Math.ceil(left + 0.2); x < right - 0.1; x++) {
      context.textAlign = "center";
      context.fillRect(scale.x(x) - 0.5, size - 5, 1, 5);
      write(minus(x), scale.x(x), size - 9);
    }
    for (let y = Math.ceil(bottom + 0.2); y < top - 0.1; y++) {
      context.textAlign = "left";
      context.fillRect(0, scale.y(y) - 0.5, 5, 1);
      write(minus(y), 9, scale.y(y) + 4);
    }
    context.font = "italic 13px Charter, Georgia, serif";
    context.textAlign = "right";
    write("x", size - 8, size - 9);
    context.textAlign = "left";
    write("y", 9, 16);
    const [cx, cy] = [scale.x(problem.solution[0]), scale.y(problem.solution[1])];
    context.strokeStyle = palette.ink;
    context.lineWidth = 1.4;
    context.beginPath();
    for (const [dx, dy] of [[1, 1], [1, -1]]) {
      context.moveTo(cx - 5 * dx, cy - 5 * dy);
      context.lineTo(cx + 5 * dx, cy + 5 * dy);
    }
    context.stroke();
  }

  const minus = (value) => String(value).replace("-", "−");

  const shapes = {
    sgd: [[0, -6], [5, 0], [0, 6], [-5, 0]],
    momentum: [[4, -5], [4, 5], [-6, 0]],
    nesterov: [[-4, -5], [-4, 5], [6, 0]],
    rmsprop: [[-4.5, -4.5], [4.5, -4.5], [4.5, 4.5], [-4.5, 4.5]],
    amsgrad: [[0, -7], [7, 0], [0, 7], [-7, 0]],
    adamw: [[-5, -4], [5, -4], [0, 6]],
    signsgd: [[-1.6, -6], [1.6, -6], [1.6, -1.6], [6, -1.6], [6, 1.6], [1.6, 1.6], [1.6, 6], [-1.6, 6], [-1.6, 1.6], [-6, 1.6], [-6, -1.6], [-1.6, -1.6]],
    normalized_sgd: [[-6, -4], [-4, -6], [0, -2], [4, -6], [6, -4], [2, 0], [6, 4], [4, 6], [0, 2], [-4, 6], [-6, 4], [-2, 0]],
    adam_shared_v: [[-5, 4], [5, 4], [0, -6]],
  };

  /** A rule's own mark, so that colour is not all that tells it. */
  vhat.mark = function (context, id, x, y, colour, paper) {
    context.beginPath();
    if (shapes[id]) shapes[id].forEach(([dx, dy], i) => context[i ? "lineTo" : "moveTo"](x + dx, y + dy));
    else context.arc(x, y, 5.2, 0, TAU);
    context.closePath();
    context.lineWidth = 2.5;
    context.strokeStyle = paper;
    context.stroke();
    context.fillStyle = colour;
    context.fill();
  };

  /** The landscape and the runs on it: up to step `at` in full, the rest faint. */
  vhat.drawStage = function (context, ground, problem, size, runs, at, palette) {
    const scale = vhat.scaleOf(problem.view, size);
    const px = (x) => Math.min(FAR, Math.max(-FAR, scale.x(x)));
    const py = (y) => Math.min(FAR, Math.max(-FAR, scale.y(y)));
    context.drawImage(ground, 0, 0, size, size);
    context.lineCap = "round";
    for (const { rule, path, points } of runs) {
      context.lineJoin = points > 300 ? "bevel" : "round"; // long paths turn gently, and round joins cost most
      const here = Math.min(at, points - 1);
      context.strokeStyle = palette.colours[rule.id];
      for (const [first, last, alpha, width] of [[here, points - 1, 0.28, 1.2], [0, here, 0.95, 1.9]]) {
        if (last <= first) continue;
        context.globalAlpha = alpha;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(px(path[2 * first]), py(path[2 * first + 1]));
        for (let t = first + 1; t <= last; t++) context.lineTo(px(path[2 * t]), py(path[2 * t + 1]));
        context.stroke();
      }
    }
    context.globalAlpha = 1;
    for (const { rule, path, points } of runs) {
      const here = Math.min(at, points - 1);
      vhat.mark(context, rule.id, px(path[2 * here]), py(path[2 * here + 1]), palette.colours[rule.id], palette.paper);
    }
  };

  const power = (decade) => (decade === 0 ? "1" : decade === 1 ? "10" : `10${[...String(decade)].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("")}`);

  /** Curves over steps on a logarithmic axis. `runs[i][name]` holds the values, `count(run)` how many. */
  vhat.drawCurves = function (context, width, height, runs, name, steps, at, palette) {
    const [left, right, top, bottom] = [44, 12, 10, 26];
    const shift = name === "lengths" ? 1 : 0; // a step's length belongs to the step it ends at
    let [low, high, initial] = [Infinity, -Infinity, 0];
    for (const run of runs) {
      initial = Math.max(initial, run[name][0]);
      for (let t = 0; t < run.points - shift; t++) {
        const value = run[name][t];
        if (value > 0 && value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!(high > 0)) [low, high] = [0.1, 1];
    // A run that diverges, or falls without end, leaves the picture: the others stay readable.
    const last = Math.ceil(Math.log10(Math.min(high, 100 * initial || high)) - 1e-9);
    const first = Math.max(Math.min(Math.floor(Math.log10(low) + 1e-9), last - 1), last - 10);
    const x = (t) => left + (t / steps) * (width - left - right);
    const y = (v) => height - bottom - ((Math.max(Math.log10(v), first - 0.5) - first) / (last - first)) * (height - top - bottom);

    context.clearRect(0, 0, width, height);
    context.font = "11.5px system-ui, sans-serif";
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const every = Math.ceil((last - first) / 5);
    for (let d = first; d <= last; d += every) {
      const line = Math.round(y(10 ** d)) + 0.5;
      context.fillStyle = palette.rule;
      context.fillRect(left, line - 0.5, width - left - right, 1);
      context.fillStyle = palette.quiet;
      context.fillText(power(d), left - 7, line);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (const t of [0, Math.round(steps / 2)]) context.fillText(String(t), x(t), height - 8);
    context.textAlign = "right";
    context.fillText(`${steps} steps`, width - right, height - 8);

    context.save();
    context.beginPath();
    context.rect(left, top - 3, width - left - right + 3, height - top - bottom + 4);
    context.clip();
    context.lineJoin = "bevel";
    context.lineWidth = 1.6;
    const dot = (t, v) => context.lineTo(x(t + shift), v > 0 ? y(v) : height);
    // Where a stroke's width holds several steps, the lowest and the highest stand for them.
    const each = Math.ceil((1.6 * steps) / (width - left - right));
    for (const run of runs) {
      const values = run[name];
      const count = run.points - shift;
      context.strokeStyle = palette.colours[run.rule.id];
      context.beginPath();
      for (let t = 0; t < count; t += each) {
        let [least, most] = [values[t], values[t]];
        for (let k = t + 1; k < Math.min(t + each, count); k++) {
          if (values[k] < least) least = values[k];
          if (values[k] > most) most = values[k];
        }
        dot(t, least);
        if (most > least) dot(t, most);
      }
      context.stroke();
    }
    context.restore();
    context.fillStyle = at < steps ? palette.quiet : palette.rule;
    context.fillRect(Math.round(x(at)) - 0.5, top - 3, 1, height - top - bottom + 4);
    for (const run of runs) {
      const here = Math.min(at, run.points - 1) - shift;
      const value = here >= 0 ? run[name][here] : 0;
      if (value > 0) vhat.mark(context, run.rule.id, x(here + shift), Math.min(Math.max(y(value), top - 3), height - bottom), palette.colours[run.rule.id], palette.paper);
    }
  };

  /** The step under a point of the curves. */
  vhat.stepAt = (px, width, steps) => Math.round(Math.min(1, Math.max(0, (px - 44) / (width - 56))) * steps);
})((globalThis.vhat = globalThis.vhat || {}));
