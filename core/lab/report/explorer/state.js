/* What the page shows, as plain data, and its address: the part of the URL after #. */
"use strict";
(function (vhat) {
  const ranges = {
    lr: [1e-4, 1],
    rate: [1e-4, 1],
    beta1: [0, 0.99],
    beta2: [0, 0.9999],
    eps: [1e-12, 10],
    decay: [0, 1],
    noise: [0, 5],
    seed: [1, 999],
    steps: [10, 600],
  };
  const whole = new Set(["seed", "steps"]);
  vhat.ranges = ranges;

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const short = (value) => String(Number(value.toPrecision(4)));

  vhat.problemOf = (state) => vhat.problems.find((p) => p.id === state.problem);

  /** A problem as it is first shown; hyperparameters and rules are kept from `before`. */
  vhat.shown = function (id, before = {}) {
    const problem = vhat.problems.find((p) => p.id === id);
    const kept = {
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      decay: 0.01,
      seed: 1,
      rules: ["sgd", "momentum", "rmsprop", "adam"],
      ...before,
    };
    const usual = problem.usual;
    return { ...kept, ...usual, start: [...usual.start], problem: id, at: usual.steps };
  };

  /** The address of a state; it names every part, so that a link shows the same for ever. */
  vhat.encode = function (state) {
    const parts = [["problem", state.problem]];
    for (const name of Object.keys(ranges)) parts.push([name, short(state[name])]);
    parts.push(["start", state.start.map(short).join(",")]);
    if (state.at < state.steps) parts.push(["at", state.at]);
    parts.push(["rules", vhat.rules.map((r) => r.id).filter((r) => state.rules.includes(r)).join(",")]);
    return parts.map(([name, value]) => `${name}=${value}`).join("&");
  };

  /** The state of an address. What it does not name, or names wrongly, is as usual. */
  vhat.decode = function (address) {
    const given = new URLSearchParams(address.replace(/^#/, ""));
    const known = vhat.problems.some((p) => p.id === given.get("problem"));
    const state = vhat.shown(known ? given.get("problem") : vhat.problems[0].id);
    const number = (text) => (text === null || text.trim() === "" ? NaN : Number(text));
    for (const [name, [low, high]] of Object.entries(ranges)) {
      const value = number(given.get(name));
      if (Number.isFinite(value)) state[name] = clamp(whole.has(name) ? Math.round(value) : value, low, high);
    }
    const start = (given.get("start") || "").split(",").map(number);
    if (start.length === 2 && start.every(Number.isFinite)) state.start = vhat.inside(state, start);
    const at = number(given.get("at"));
    state.at = Number.isFinite(at) ? clamp(Math.round(at), 0, state.steps) : state.steps;
    if (given.has("rules")) {
      const rules = given.get("rules").split(",");
      state.rules = vhat.rules.map((r) => r.id).filter((r) => rules.includes(r));
    }
    return state;
  };

  /** A point, moved into the problem's view. */
  vhat.inside = function (state, [x, y]) {
    const [left, right, bottom, top] = vhat.problemOf(state).view;
    const round = (value) => Math.round(value * 1000) / 1000;
    return [round(clamp(x, left, right)), round(clamp(y, bottom, top))];
  };
})((globalThis.vhat = globalThis.vhat || {}));
