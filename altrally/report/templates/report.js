"use strict";
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const words = { system: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  const button = document.getElementById("theme");

  const remembered = () => {
    try { return localStorage.getItem("altrally-theme"); } catch { return null; }
  };
  const show = (theme) => {
    root.dataset.theme = theme;
    button.textContent = words[theme];
    try { localStorage.setItem("altrally-theme", theme); } catch { /* a page from disk may have no memory */ }
  };
  button.hidden = false;
  show(themes.includes(remembered()) ? remembered() : "system");
  button.addEventListener("click", () => show(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]));

  const unfold = () => {
    const part = document.getElementById(location.hash.slice(1));
    const whole = part && part.querySelector("details.whole");
    if (whole) whole.open = true;
  };
  window.addEventListener("hashchange", unfold);
  unfold();
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => { for (const part of closed) part.open = false; });

  const tip = document.getElementById("tip");
  const say = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const wide = Math.min(x + 14, window.innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(wide, 8)}px`;
    tip.style.top = `${y - tip.offsetHeight - 14 < 8 ? y + 18 : y - tip.offsetHeight - 14}px`;
  };
  const hush = () => { tip.hidden = true; };

  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark) say(mark.dataset.tip, event.clientX, event.clientY);
    else if (!event.target.closest(".history svg")) hush();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });
  document.addEventListener("wheel", hush, { passive: true });
  document.addEventListener("touchmove", hush, { passive: true });

  const weeks = JSON.parse(document.getElementById("weeks").textContent);
  const share = (p) => (p === null ? "–" : `${Math.round(100 * p)} %`);
  const event = document.body.dataset.event;
  const outcome = (came) => (came === null ? "not over yet" : came ? `a ${event} followed` : `no ${event} followed`);

  for (const plot of document.querySelectorAll(".history")) {
    const series = weeks[plot.dataset.days];
    const svg = plot.querySelector("svg");
    const cursor = svg.querySelector(".cursor");
    let week = series.as_of.length - 1;

    const read = () => {
      const box = svg.getBoundingClientRect();
      const at = (week + 0.5) / series.as_of.length;
      cursor.setAttribute("x1", `${100 * at}%`);
      cursor.setAttribute("x2", `${100 * at}%`);
      cursor.setAttribute("visibility", "visible");
      const line = `${series.as_of[week]}: forecast ${share(series.forecast[week])}, usual ${share(series.usual[week])}; ${outcome(series.came[week])}`;
      say(line, box.left + at * box.width, Math.max(box.top, 8) + 40);
    };
    const leave = () => { cursor.setAttribute("visibility", "hidden"); hush(); };

    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = Math.floor(((event.clientX - box.left) / box.width) * series.as_of.length);
      week = Math.min(Math.max(at, 0), series.as_of.length - 1);
      read();
    });
    svg.addEventListener("pointerleave", leave);
    plot.addEventListener("blur", leave);
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -13, PageDown: 13, Home: -Infinity, End: Infinity }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      week = Math.min(Math.max(week + step, 0), series.as_of.length - 1);
      read();
    });
  }
})();
