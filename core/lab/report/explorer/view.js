/* The page: controls, what is computed for them, and the address. */
"use strict";
(function (vhat) {
  const $ = (id) => document.getElementById(id);
  const LIMIT = 1e9;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let state = vhat.decode(location.hash);
  let palette = vhat.palette();
  const grounds = new Map();
  let noise = { seed: 0, values: vhat.normals(0, 0) };
  let runs = [];
  let frame = 0;
  let playing = 0;
  const paths = new Map(vhat.rules.map((r) => [r.id, new Float64Array(2 * (vhat.ranges.steps[1] + 1))]));
  const buffers = () => new Map(vhat.rules.map((r) => [r.id, new Float64Array(vhat.ranges.steps[1] + 1)]));
  const [heights, lengths] = [buffers(), buffers()];

  // Numbers as people read them, and sliders whose position is not their value.
  const exact = (value) => {
    const small = value !== 0 && Math.abs(value) < 1e-3;
    const large = Math.abs(value) >= 1e6;
    const said = small || large ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(3)));
    return said.replace("+", "").replaceAll("-", "−");
  };
  const log = { to: (value) => Math.log10(value), from: (at) => Number((10 ** at).toPrecision(3)) };
  const plain = { to: (value) => value, from: Number };
  // The memory of an average is 1 / (1 - beta): the slider is even in its logarithm.
  const memory = { to: (beta) => -Math.log10(1 - beta), from: (at) => Number((1 - 10 ** -at).toPrecision(4)) };
  const sliders = { lr: log, rate: log, beta1: plain, beta2: memory, eps: log, decay: plain, noise: plain, steps: plain };

  /** The runs of all chosen rules, from the state alone. */
  function compute() {
    const problem = vhat.problemOf(state);
    if (noise.seed !== state.seed) noise = { seed: state.seed, values: vhat.normals(state.seed, vhat.ranges.steps[1]) };
    const [scale, normal] = [state.noise, noise.values];
    const field = (p, t, g) => {
      problem.field(p, g);
      if (scale) {
        g[0] += scale * normal[2 * t];
        g[1] += scale * normal[2 * t + 1];
      }
    };
    runs = vhat.rules.filter((r) => state.rules.includes(r.id)).map((rule) => {
      const h = { ...state, lr: rule.scaled ? state.rate : state.lr };
      const run = vhat.follow(rule, h, state.start, state.steps, field, LIMIT, paths.get(rule.id));
      return { rule, ...run, ...measured(problem, rule, run) };
    });
  }

  function measured(problem, rule, { path, points }) {
    const [height, length] = [heights.get(rule.id), lengths.get(rule.id)];
    for (let t = 0; t < points; t++) {
      height[t] = problem.height(path[2 * t], path[2 * t + 1]);
      if (t) length[t - 1] = Math.hypot(path[2 * t] - path[2 * t - 2], path[2 * t + 1] - path[2 * t - 1]);
    }
    return { heights: height, lengths: length };
  }

  /** Everything anew, at once. */
  function redraw() {
    const problem = vhat.problemOf(state);
    compute();
    const stage = $("stage");
    const size = stage.clientWidth;
    const key = [problem.id, size, devicePixelRatio, palette.paper].join();
    if (!grounds.has(key)) {
      if (grounds.size >= 2 * vhat.problems.length) grounds.clear(); // other sizes and themes
      grounds.set(key, vhat.landscape(problem, size, palette));
    }
    vhat.drawStage(vhat.fit(stage, size, size), grounds.get(key), problem, size, runs, state.at, palette);
    const scale = vhat.scaleOf(problem.view, size);
    $("handle").style.transform = `translate(${scale.x(state.start[0])}px, ${scale.y(state.start[1])}px)`;
    for (const name of ["heights", "lengths"]) {
      const canvas = $(name);
      const [w, h] = [canvas.clientWidth, canvas.clientHeight];
      vhat.drawCurves(vhat.fit(canvas, w, h), w, h, runs, name, state.steps, state.at, palette);
    }
    legend();
  }

  const later = () => {
    frame = frame || requestAnimationFrame(() => {
      frame = 0;
      redraw();
    });
  };

  function text(node, value) {
    if (node.textContent !== value) node.textContent = value;
  }

  const lost = (run) => run.points <= state.steps;

  /** The values at the step that is looked at, rule by rule. */
  function legend() {
    for (const row of $("rules").tBodies[0].rows) {
      const run = runs.find((r) => r.rule.id === row.dataset.rule);
      const here = run ? Math.min(state.at, run.points - 1) : 0;
      const gone = run && lost(run) && state.at >= run.points;
      row.classList.toggle("off", !run);
      text(row.cells[1], !run ? "" : gone ? `diverges at ${run.points}` : exact(run.heights[here]));
      text(row.cells[2], !run || gone || here === 0 ? "" : exact(run.lengths[here - 1]));
    }
    text($("at-value"), `${state.at} of ${state.steps}`);
  }

  /** The state in one sentence, for those who do not see the paths. */
  function summary() {
    const problem = vhat.problemOf(state);
    const alive = runs.filter((r) => !(lost(r) && state.at >= r.points));
    const value = (r) => r.heights[Math.min(state.at, r.points - 1)];
    const order = [...alive].sort((a, b) => value(a) - value(b));
    const parts = order.map((r) => `${r.rule.name} ${exact(value(r))}`);
    const dead = runs.filter((r) => !alive.includes(r)).map((r) => `${r.rule.name} diverged at step ${r.points}`);
    const said = [...parts, ...dead].join(", ") || "no rule is chosen";
    return `${problem.name}, step ${state.at} of ${state.steps}, ${problem.measure}: ${said}.`;
  }

  /** Controls follow the state. */
  function show() {
    const problem = vhat.problemOf(state);
    for (const radio of document.getElementsByName("problem")) radio.checked = radio.value === state.problem;
    for (const box of document.getElementsByName("rule")) box.checked = state.rules.includes(box.value);
    for (const name of Object.keys(sliders)) {
      const input = $(name);
      // A slider snaps to its own steps: it is moved only where the state is not what it already says.
      if (Math.abs(sliders[name].from(Number(input.value)) - state[name]) > 1e-9 * Math.abs(state[name])) {
        input.value = sliders[name].to(state[name]);
      }
      label(input, name, exact(state[name]));
    }
    for (const [i, name] of ["x", "y"].entries()) {
      const input = $(name);
      [input.min, input.max] = [problem.view[2 * i], problem.view[2 * i + 1]];
      input.value = state.start[i];
      label(input, name, exact(state.start[i]));
    }
    $("at").max = state.steps;
    $("at").value = state.at;
    text($("problem-formula"), problem.formula);
    text($("problem-note"), problem.note);
    for (const node of document.querySelectorAll("[data-measure]")) text(node, problem.measure);
    text($("seed-value"), String(state.seed));
    later();
    said();
  }

  function label(input, name, value) {
    text($(`${name}-value`), value);
    input.setAttribute("aria-valuetext", value);
  }

  const debounced = (act, wait) => {
    let timer = 0;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, wait);
    };
  };
  const said = debounced(() => {
    text($("summary"), summary());
    $("stage").setAttribute("aria-label", `Paths of the chosen rules. ${summary()}`);
  }, 500);
  const kept = debounced(() => {
    const address = `#${vhat.encode(state)}`;
    if (address !== location.hash) location.hash = address;
  }, 250);

  /** Change the state; `keep` also writes it to the address, as one step of the history. */
  function change(part, keep = true) {
    const atEnd = state.at === state.steps;
    state = { ...state, ...part };
    if (!("at" in part)) state.at = atEnd ? state.steps : Math.min(state.at, state.steps);
    show();
    if (keep) kept();
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    text($("play"), "Play");
  }

  /** The runs step by step, in about five seconds. */
  function play() {
    if (playing) {
      stop();
      kept();
      return;
    }
    const from = state.at >= state.steps ? 0 : state.at;
    let began = 0;
    text($("play"), "Pause");
    const tick = (now) => {
      began = began || now;
      const at = Math.min(state.steps, Math.round(from + ((now - began) / 5000) * state.steps));
      change({ at }, false);
      if (at < state.steps) playing = requestAnimationFrame(tick);
      else stop();
    };
    playing = requestAnimationFrame(tick);
  }

  function listen() {
    for (const name of Object.keys(sliders)) {
      $(name).addEventListener("input", (e) => change({ [name]: sliders[name].from(Number(e.target.value)) }));
    }
    for (const [i, name] of ["x", "y"].entries()) {
      $(name).addEventListener("input", (e) => {
        change({ start: state.start.map((v, k) => (k === i ? Number(e.target.value) : v)) });
      });
    }
    $("at").addEventListener("input", (e) => {
      stop();
      change({ at: Number(e.target.value) });
    });
    for (const radio of document.getElementsByName("problem")) {
      radio.addEventListener("change", () => {
        stop();
        change(vhat.shown(radio.value, state));
      });
    }
    for (const box of document.getElementsByName("rule")) {
      box.addEventListener("change", () => {
        const rules = state.rules.filter((id) => id !== box.value);
        change({ rules: box.checked ? [...rules, box.value] : rules });
      });
    }
    $("seed").addEventListener("click", () => change({ seed: (state.seed % vhat.ranges.seed[1]) + 1 }));
    $("reset").addEventListener("click", () => change(vhat.shown(state.problem)));
    $("play").addEventListener("click", play);
    $("copy").addEventListener("click", copy);
    addEventListener("hashchange", () => {
      if (location.hash === `#${vhat.encode(state)}`) return;
      // A link within the page, such as the one that skips to the content: its state stays, and its address.
      if (location.hash.length > 1 && $(location.hash.slice(1))) {
        history.replaceState(null, "", `#${vhat.encode(state)}`);
        return;
      }
      stop();
      state = vhat.decode(location.hash);
      show();
    });
    for (const query of [matchMedia("(prefers-color-scheme: dark)"), matchMedia("print")]) {
      query.addEventListener("change", () => {
        palette = vhat.palette();
        swatches();
        later();
      });
    }
    new ResizeObserver(later).observe($("stage"));
    const still = () => ($("play").hidden = calm.matches);
    calm.addEventListener("change", still);
    still();
  }

  async function copy() {
    history.replaceState(null, "", `#${vhat.encode(state)}`);
    let done = "Link copied.";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      done = "Copy the link from the address bar.";
    }
    text($("copied"), done);
    setTimeout(() => text($("copied"), ""), 4000);
  }

  /** The start follows the pointer, from the handle or (by mouse) from anywhere in the plot; arrows move it. */
  function drag() {
    const [stage, handle] = [$("stage"), $("handle")];
    const move = (e) => {
      const box = stage.getBoundingClientRect();
      const { invert } = vhat.scaleOf(vhat.problemOf(state).view, box.width);
      change({ start: vhat.inside(state, invert(e.clientX - box.left, e.clientY - box.top)) });
    };
    for (const node of [stage, handle]) {
      node.addEventListener("pointerdown", (e) => {
        if (e.button !== 0 || (node === stage && e.pointerType !== "mouse")) return;
        node.setPointerCapture(e.pointerId);
        if (node === stage) move(e);
      });
      node.addEventListener("pointermove", (e) => node.hasPointerCapture(e.pointerId) && move(e));
    }
    handle.addEventListener("keydown", (e) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
      if (!by) return;
      e.preventDefault();
      const size = e.shiftKey ? 0.1 : 0.02;
      change({ start: vhat.inside(state, [state.start[0] + size * by[0], state.start[1] + size * by[1]]) });
    });
    for (const canvas of [$("heights"), $("lengths")]) {
      const look = (e) => {
        const box = canvas.getBoundingClientRect();
        stop();
        change({ at: vhat.stepAt(e.clientX - box.left, box.width, state.steps) });
      };
      canvas.addEventListener("pointerdown", (e) => {
        canvas.setPointerCapture(e.pointerId);
        look(e);
      });
      canvas.addEventListener("pointermove", (e) => canvas.hasPointerCapture(e.pointerId) && look(e));
    }
  }

  function element(tag, attributes = {}, ...inside) {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...inside);
    return node;
  }

  /** A button a problem, and a row a rule. */
  function build() {
    for (const { id, name } of vhat.problems) {
      const radio = element("input", { type: "radio", name: "problem", value: id });
      $("problems").append(element("label", {}, radio, element("span", {}, name)));
    }
    for (const { id, name } of vhat.rules) {
      const box = element("input", { type: "checkbox", name: "rule", value: id });
      const swatch = element("canvas", { className: "swatch", ariaHidden: "true" });
      const head = element("th", { scope: "row" }, element("label", {}, box, swatch, element("span", {}, name)));
      const row = element("tr", {}, head, ...[0, 1].map(() => element("td", { className: "value" })));
      row.dataset.rule = id;
      $("rules").tBodies[0].append(row);
    }
  }

  function swatches() {
    for (const canvas of document.querySelectorAll(".swatch")) {
      const context = vhat.fit(canvas, 34, 16);
      const id = canvas.closest("tr").dataset.rule;
      context.clearRect(0, 0, 34, 16);
      context.fillStyle = palette.colours[id];
      context.fillRect(1, 7, 32, 2);
      vhat.mark(context, id, 17, 8, palette.colours[id], palette.paper);
    }
  }

  vhat.explorer = { redraw, change, address: () => vhat.encode(state) };
  build();
  listen();
  drag();
  swatches();
  show();
})((globalThis.vhat = globalThis.vhat || {}));
