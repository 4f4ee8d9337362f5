/* The update rules of core.optim in float64, formula by formula; tests compare both on the same gradients.

   A rule is { id, name, scaled, step }. `step(p, g, s, h)` moves the parameters p (Float64Array) in place by one
   step on the gradient g, with the state s of `start` and the hyperparameters
   h = { lr, beta1, beta2, eps, decay }. `scaled` says whether the rule divides the gradient's size out, so that
   lr is a length; otherwise lr is a length over a gradient. beta1 is momentum's coefficient too, and beta2 is
   RMSProp's alpha. */
"use strict";
(function (vhat) {
  /** The state before the first step, for D parameters. */
  function start(dim) {
    return {
      step: 0,
      m: new Float64Array(dim),
      v: new Float64Array(dim),
      vMax: new Float64Array(dim),
    };
  }

  /** a + weight (b - a), rounded as torch.lerp rounds it. */
  function lerp(a, b, weight) {
    return weight < 0.5 ? a + weight * (b - a) : b - (b - a) * (1 - weight);
  }

  function sgd(p, g, s, h) {
    s.step += 1;
    for (let i = 0; i < p.length; i++) p[i] += -h.lr * g[i];
  }

  /** Polyak 1964, the rate outside the buffer; Nesterov's form after Sutskever et al. 2013. */
  function withMomentum(nesterov) {
    return function (p, g, s, h) {
      s.step += 1;
      for (let i = 0; i < p.length; i++) {
        s.m[i] = s.step === 1 ? g[i] : s.m[i] * h.beta1 + g[i];
        p[i] += -h.lr * (nesterov ? g[i] + h.beta1 * s.m[i] : s.m[i]);
      }
    };
  }

  /** Tieleman and Hinton 2012. */
  function rmsprop(p, g, s, h) {
    s.step += 1;
    for (let i = 0; i < p.length; i++) {
      s.v[i] = s.v[i] * h.beta2 + (1 - h.beta2) * g[i] * g[i];
      p[i] += (-h.lr * g[i]) / (Math.sqrt(s.v[i]) + h.eps);
    }
  }

  /** Kingma and Ba 2015; AMSGrad: Reddi et al. 2018, the maximum before the correction, as in torch; AdamW:
      Loshchilov and Hutter 2019; `shared`: one v for all coordinates, their mean. */
  function adam({ amsgrad = false, decoupled = false, shared = false } = {}) {
    return function (p, g, s, h) {
      s.step += 1;
      const size = h.lr / (1 - h.beta1 ** s.step);
      const root = Math.sqrt(1 - h.beta2 ** s.step);
      let mean = 0;
      for (let i = 0; i < p.length; i++) {
        s.m[i] = lerp(s.m[i], g[i], 1 - h.beta1);
        s.v[i] = s.v[i] * h.beta2 + (1 - h.beta2) * g[i] * g[i];
        s.vMax[i] = Math.max(s.vMax[i], s.v[i]);
        mean += s.v[i] / p.length;
      }
      for (let i = 0; i < p.length; i++) {
        const v = shared ? mean : amsgrad ? s.vMax[i] : s.v[i];
        if (decoupled) p[i] *= 1 - h.lr * h.decay;
        p[i] += (-size * s.m[i]) / (Math.sqrt(v) / root + h.eps);
      }
    };
  }

  /** Bernstein et al. 2018, without momentum. */
  function signsgd(p, g, s, h) {
    s.step += 1;
    for (let i = 0; i < p.length; i++) p[i] += -h.lr * Math.sign(g[i]);
  }

  /** The gradient at unit length. */
  function normalized(p, g, s, h) {
    s.step += 1;
    let squares = 0;
    for (let i = 0; i < p.length; i++) squares += g[i] * g[i];
    const length = Math.sqrt(squares) + h.eps;
    for (let i = 0; i < p.length; i++) p[i] += (-h.lr * g[i]) / length;
  }

  vhat.rules = [
    { id: "sgd", name: "Gradient descent", scaled: false, step: sgd },
    { id: "momentum", name: "Momentum", scaled: false, step: withMomentum(false) },
    { id: "nesterov", name: "Nesterov", scaled: false, step: withMomentum(true) },
    { id: "rmsprop", name: "RMSProp", scaled: true, step: rmsprop },
    { id: "adam", name: "Adam", scaled: true, step: adam() },
    { id: "amsgrad", name: "AMSGrad", scaled: true, step: adam({ amsgrad: true }) },
    { id: "adamw", name: "AdamW", scaled: true, step: adam({ decoupled: true }) },
    { id: "signsgd", name: "Sign descent", scaled: true, step: signsgd },
    { id: "normalized_sgd", name: "Normalised descent", scaled: true, step: normalized },
    { id: "adam_shared_v", name: "Adam, shared v", scaled: true, step: adam({ shared: true }) },
  ];

  /** The path of a rule: (steps + 1) * D numbers, the start first.

      `field(p, step, g)` writes the gradient at p into g. The path ends early, at its last finite point, where
      the parameters leave the range |p| < limit. Returns { path, points }, points counting the start. */
  vhat.follow = function (rule, h, from, steps, field, limit = Infinity, path = null) {
    const dim = from.length;
    const out = path || new Float64Array((steps + 1) * dim);
    const p = Float64Array.from(from);
    const g = new Float64Array(dim);
    const s = start(dim);
    out.set(p, 0);
    for (let t = 0; t < steps; t++) {
      field(p, t, g);
      rule.step(p, g, s, h);
      for (let i = 0; i < dim; i++) if (!(Math.abs(p[i]) < limit)) return { path: out, points: t + 1 };
      out.set(p, (t + 1) * dim);
    }
    return { path: out, points: steps + 1 };
  };
})((globalThis.vhat = globalThis.vhat || {}));
