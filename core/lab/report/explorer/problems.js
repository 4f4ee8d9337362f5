/* The problems in the plane, and the noise on their gradients.

   A problem is { id, name, formula, note, view, solution, height, field, level, measure, usual }:
   `view` = [left, right, bottom, top]; `field(p, g)` writes the exact gradient (of a game: every player's);
   `height(x, y)` is what the first plot shows; `level(x, y)` is drawn with a line at each whole number; `usual`
   is the state in which a problem is first shown. */
"use strict";
(function (vhat) {
  /** (condition u^2 + w^2) / 2, where (u, w) is the point turned by `degrees`, as core.problems.quadratic. */
  function canyon(condition, degrees) {
    const c = Math.cos((degrees * Math.PI) / 180);
    const s = Math.sin((degrees * Math.PI) / 180);
    return {
      height(x, y) {
        const u = c * x + s * y;
        const w = c * y - s * x;
        return 0.5 * (condition * u * u + w * w);
      },
      field(p, g) {
        const u = (c * p[0] + s * p[1]) * condition;
        const w = c * p[1] - s * p[0];
        g[0] = c * u - s * w;
        g[1] = s * u + c * w;
      },
    };
  }

  /** 100 (y - x^2)^2 + (1 - x)^2, Rosenbrock 1960. */
  const rosenbrock = {
    height: (x, y) => 100 * (y - x * x) ** 2 + (1 - x) ** 2,
    field(p, g) {
      const across = p[1] - p[0] * p[0];
      g[0] = -400 * p[0] * across - 2 * (1 - p[0]);
      g[1] = 200 * across;
    },
  };

  /** min over x, max over y of x y: both players descend along (y, -x), which turns about the origin. */
  const game = {
    height: (x, y) => Math.sqrt(x * x + y * y),
    field(p, g) {
      g[0] = p[1];
      g[1] = -p[0];
    },
  };

  /** Lines at equal ratios of height; `floor` keeps them apart near the minimum. */
  const ratios = (height, each, floor) => (x, y) => Math.log(height(x, y) + floor) / Math.log(each);

  function problem(id, name, formula, note, landscape, more) {
    return { id, name, formula, note, measure: "height above the minimum", game: false, ...landscape, ...more };
  }

  const canyonAlong = canyon(100, 0);
  const canyonTurned = canyon(100, 45);
  const bowl = canyon(10, 20);
  vhat.problems = [
    problem(
      "canyon",
      "Canyon",
      "f(x, y) = (100 x² + y²) / 2",
      "A hundred times steeper across than along. Its axes are the coordinates, which suits a rule that scales each coordinate by itself.",
      canyonAlong,
      {
        view: [-1.25, 1.25, -1.25, 1.25],
        solution: [0, 0],
        level: ratios(canyonAlong.height, 2.2, 0.02),
        usual: { lr: 0.017, rate: 0.05, noise: 0, start: [-0.72, 1], steps: 120 },
      },
    ),
    problem(
      "turned",
      "Canyon, turned",
      "f(x, y) = (100 u² + w²) / 2, with (u, w) the point turned by 45°",
      "The same canyon, but both coordinates are equally steep: scaling them one by one no longer helps.",
      canyonTurned,
      {
        view: [-1.25, 1.25, -1.25, 1.25],
        solution: [0, 0],
        level: ratios(canyonTurned.height, 2.2, 0.02),
        usual: { lr: 0.017, rate: 0.05, noise: 0, start: [-1.05, 0.45], steps: 120 },
      },
    ),
    problem(
      "rosenbrock",
      "Rosenbrock",
      "f(x, y) = 100 (y − x²)² + (1 − x)²",
      "A curved valley, easy to fall into and slow to follow; the minimum lies at (1, 1).",
      rosenbrock,
      {
        view: [-2, 2, -1.2, 2.8],
        solution: [1, 1],
        level: ratios(rosenbrock.height, 3, 0.3),
        usual: { lr: 0.001, rate: 0.05, noise: 0, start: [-1.4, 2.1], steps: 400 },
      },
    ),
    problem(
      "xy",
      "The game xy",
      "min over x, max over y of x y",
      "Two players. Their joint field never points at the equilibrium, only around it: descent spirals outward.",
      game,
      {
        game: true,
        measure: "distance from the equilibrium",
        view: [-3, 3, -3, 3],
        solution: [0, 0],
        level: (x, y) => 1.6 * Math.asinh(2 * x * y),
        usual: { lr: 0.03, rate: 0.02, noise: 0, start: [0.9, 0.7], steps: 400 },
      },
    ),
    problem(
      "noisy",
      "Noisy bowl",
      "f(x, y) = (10 u² + w²) / 2, turned by 20°; noise on every gradient",
      "Near the minimum the gradient is all noise. A constant rate ends in a cloud around the minimum, the larger the rate the wider.",
      bowl,
      {
        view: [-1.6, 1.6, -1.6, 1.6],
        solution: [0, 0],
        level: ratios(bowl.height, 2.2, 0.02),
        usual: { lr: 0.05, rate: 0.05, noise: 1, start: [-1.17, -0.93], steps: 250 },
      },
    ),
  ];

  /** A 32-bit mixer: multiply and shift with the constants of Wellons' search ("hash prospector", 2018 to
      2022), a bijection whose output bits depend on all input bits nearly alike. */
  function mix(z) {
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** Random bits without a state: number `index` of the stream `seed`, an integer in [0, 2^32). */
  vhat.bits = (seed, index) => mix((mix(seed) + Math.imul(index + 1, 0x9e3779b9)) | 0);

  /** Standard normal numbers, two a step (Box and Muller 1958); all rules see the same ones. */
  vhat.normals = function (seed, steps) {
    const out = new Float64Array(2 * steps);
    for (let t = 0; t < steps; t++) {
      const radius = Math.sqrt(-2 * Math.log((vhat.bits(seed, 2 * t) + 1) / 2 ** 32));
      const angle = 2 * Math.PI * (vhat.bits(seed, 2 * t + 1) / 2 ** 32);
      out[2 * t] = radius * Math.cos(angle);
      out[2 * t + 1] = radius * Math.sin(angle);
    }
    return out;
  };
})((globalThis.vhat = globalThis.vhat || {}));
