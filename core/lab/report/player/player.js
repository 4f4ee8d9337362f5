/* Plays the films of a page. Without it each film shows its still.

   A film is a figure.film with an SVG whose paths move, and its frames as JSON: `longest[k]` is path k's longest
   data, `moves[t][k]` its data in frame t, as text or as a length of longest[k]. */
"use strict";
(function () {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function prepare(figure) {
    const film = JSON.parse(figure.querySelector("script").textContent);
    const paths = [...figure.querySelectorAll(".moving path")];
    const [button, slider, output] = ["button", "input", "output"].map((tag) => figure.querySelector(tag));
    const last = film.moves.length - 1;
    let now = film.still;
    let request = 0;
    let fresh = true; // nobody has played it or looked for a frame

    function show(frame) {
      now = frame;
      paths.forEach((path, k) => {
        const data = film.moves[frame][k];
        path.setAttribute("d", typeof data === "number" ? film.longest[k].slice(0, data) : data);
      });
      slider.value = frame;
      slider.setAttribute("aria-valuetext", film.labels[frame]);
      output.textContent = film.labels[frame];
    }

    function pause() {
      cancelAnimationFrame(request);
      request = 0;
      button.textContent = "Play";
    }

    function play() {
      const from = now >= last ? 0 : now;
      let began = 0;
      fresh = false;
      button.textContent = "Pause";
      const tick = (time) => {
        began = began || time;
        const frame = Math.min(last, from + Math.floor(((time - began) / 1000) * film.fps));
        if (frame !== now) show(frame);
        if (frame < last) request = requestAnimationFrame(tick);
        else pause();
      };
      show(from);
      request = requestAnimationFrame(tick);
    }

    button.addEventListener("click", () => (request ? pause() : play()));
    slider.addEventListener("input", () => {
      fresh = false;
      pause();
      show(Number(slider.value));
    });
    calm.addEventListener("change", () => calm.matches && pause());
    addEventListener("beforeprint", () => {
      pause();
      show(film.still);
    });
    show(now);
    figure.querySelector(".controls").hidden = false;
    figure.classList.add("ready");

    // Once, when half of it has come into view (on a phone no more may fit), and only where motion is welcome.
    const seen = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        seen.disconnect();
        if (fresh && !calm.matches) play();
      },
      { threshold: 0.5 },
    );
    seen.observe(figure.querySelector(".moving"));
  }

  document.querySelectorAll("figure.film").forEach(prepare);
})();
