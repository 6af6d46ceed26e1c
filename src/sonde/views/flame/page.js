// A flame graph to look around in: d3-flame-graph draws it, this is what stands around. Names are only ever set as text.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("profile").textContent);
  const TEXT = 0, KIND = 1, SHADE = 4;
  const BOX_FIELDS = 4, ROW = 18, SMALLEST = 0.4, THIN = 4;
  const at = (id) => document.getElementById(id);
  const pane = document.querySelector("main"), place = at("chart"), input = at("search"), matched = at("matched"), details = at("details"), tip = at("tip");
  const dark = matchMedia("(prefers-color-scheme: dark)"), still = matchMedia("(prefers-reduced-motion: reduce)");
  const idle = [...details.childNodes];

  // ---- the tree: boxes come each before those that stand on it

  function treeOf(boxes) {
    const path = [];
    for (let i = 0; i < boxes.length; i += BOX_FIELDS) {
      const [depth, name, value, own] = boxes.slice(i, i + BOX_FIELDS);
      const node = { name: data.names[name][TEXT], about: data.names[name], value, own, children: [] };
      path[depth] = node;
      if (depth) path[depth - 1].children.push(node);
    }
    return path[0];
  }

  const root = treeOf(data.boxes);

  // ---- words

  function share(part, whole) {
    if (!whole || !part) return "0 %";
    const percent = (100 * part) / whole;
    if (percent < 0.005) return "< 0.01 %";
    return percent < 0.995 ? `${percent.toFixed(2)} %` : percent < 99.95 ? `${percent.toFixed(1)} %` : "100 %";
  }

  function amount(value) {
    if (data.unit === "samples") return `${value.toLocaleString("en")} sample${value === 1 ? "" : "s"}`;
    for (const [factor, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
      if (value >= factor) return `${Number((value / factor).toPrecision(3))} ${unit}`;
    }
    return `${value} ns`;
  }

  function lines(node) {
    const [, kind, module, source] = node.about;
    const weights = `${amount(node.value)}, ${share(node.value, root.value)}`;
    const own = kind === data.thread ? "" : `its own ${share(node.own, root.value)}`;
    return [[weights, own].filter(Boolean).join(" · "), [data.kinds[kind], module].filter(Boolean).join(" · "), source];
  }

  function fill(element, node) {
    const name = document.createElement("b");
    name.textContent = node.name;
    const rest = lines(node).filter(Boolean).map((line) => {
      const span = document.createElement("span");
      span.textContent = line;
      return span;
    });
    element.replaceChildren(name, ...rest);
  }

  // ---- colours

  const hit = () => getComputedStyle(document.documentElement).getPropertyValue("--hit").trim();
  let hitColour = hit();

  function colour(about) {
    const [hue, spread, saturation, light, onDark] = data.palette[about[KIND]] || data.palette.u;
    const tone = about[SHADE] / 9;
    return `hsl(${hue + spread * tone}, ${saturation}%, ${(dark.matches ? onDark : light) + 6 * tone}%)`;
  }

  function paintLegend() {
    for (const chip of document.querySelectorAll(".legend button")) {
      chip.querySelector("i").style.background = colour(["", chip.dataset.kind, "", "", 4]);
    }
  }

  // ---- the chart

  let focus = null, zoomed = null, wanted = null;
  const pointer = () => {};
  pointer.show = (event, node) => {
    fill(tip, node.data);
    tip.hidden = false;
    const { clientX: x, clientY: y } = event, box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
    tip.style.top = `${y + 18 + box.height > innerHeight ? Math.max(6, y - box.height - 12) : y + 18}px`;
  };
  pointer.hide = () => { tip.hidden = true; };

  const motion = () => (still.matches || data.boxes.length > 4000 * BOX_FIELDS ? 0 : 180);
  const chart = flamegraph.default()
    .width(place.clientWidth).cellHeight(ROW).minFrameSize(SMALLEST).transitionDuration(0)
    .resetHeightOnZoom(true).tooltip(pointer).setLabelHandler((node) => node)
    .setDetailsHandler((node) => describe(node || focus))
    .setSearchMatch((node, match) => match(node.data)).setSearchHandler(() => {})
    .setColorMapper((node) => (node.highlight ? hitColour : colour(node.data.about)))
    .onClick((node) => {
      zoomed = node;
      at("reset").disabled = !node.parent;
      keep(node);
      tell();
      showCallers();
    });

  function describe(node) {
    if (node) fill(details, node.data);
    else details.replaceChildren(...idle);
  }

  function draw() {
    chart.width(place.clientWidth).update();
    mark();
  }

  // Callers are what a reader begins with, at whichever end they are.
  function showCallers() {
    pane.scrollTop = chart.inverted() ? 0 : pane.scrollHeight;
  }

  function keep(node) {
    focus = node;
    describe(node);
    mark();
  }

  function mark() {
    for (const group of place.querySelectorAll("g.frame")) {
      // The outline of what is that narrow would be all that is seen of it.
      group.toggleAttribute("data-thin", Number(group.getAttribute("width")) < THIN);
      group.toggleAttribute("data-focus", focus !== null && d3.select(group).datum() === focus && focus.parent !== null);
    }
  }

  // ---- search: by name, or by kind from the legend

  function matcher(text) {
    try {
      const pattern = new RegExp(text, "i");
      return (node) => node.about[KIND] !== data.thread && pattern.test(node.name);
    } catch {
      const small = text.toLowerCase();
      return (node) => node.about[KIND] !== data.thread && node.name.toLowerCase().includes(small);
    }
  }

  function sum(node, match) {
    // What matches within a match is part of it already.
    let found = 0;
    const left = [node];
    while (left.length) {
      const each = left.pop();
      if (match(each)) found += each.value;
      else left.push(...each.children);
    }
    return found;
  }

  function tell() {
    if (!wanted) {
      matched.textContent = "";
      return;
    }
    const words = [`${share(sum(root, wanted), root.value)} matched`];
    if (zoomed && zoomed.parent) words.push(`(${share(sum(zoomed.data, wanted), zoomed.data.value)} of this)`);
    matched.textContent = words.join(" ");
  }

  function find(match, chip) {
    wanted = match;
    for (const each of document.querySelectorAll(".legend button")) each.setAttribute("aria-pressed", String(each === chip));
    if (match) chart.search(match);
    else chart.clear();
    mark();
    tell();
  }

  let waiting = 0;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => find(input.value ? matcher(input.value) : null), 120);
  });
  for (const chip of document.querySelectorAll(".legend button")) {
    chip.addEventListener("click", () => {
      input.value = "";
      if (chip.getAttribute("aria-pressed") === "true") find(null);
      else find((node) => node.about[KIND] === chip.dataset.kind, chip);
    });
  }

  // ---- the rest of the page

  function turn(isIcicle) {
    chart.inverted(isIcicle);
    place.classList.toggle("grows-up", !isIcicle);
    at("turn").textContent = isIcicle ? "Flame" : "Icicle";
    at("turn").title = isIcicle ? "callers at the bottom (i)" : "callers at the top (i)";
    draw();
    showCallers();
  }

  function reset() {
    chart.resetZoom();
    keep(null);
  }

  // The key that leads away from the callers, and back, is the one that points there.
  function step(key) {
    const node = focus || zoomed || d3.select(place).datum();
    const away = chart.inverted() ? "ArrowDown" : "ArrowUp";
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const row = node.parent ? node.parent.children.filter((each) => each.value > 0) : [node];
      const next = row[row.indexOf(node) + (key === "ArrowLeft" ? -1 : 1)];
      return next || node;
    }
    if (key !== away) return node.parent || node;
    const above = (node.children || []).filter((each) => each.value > 0);
    return above.reduce((best, each) => (best && best.value >= each.value ? best : each), null) || node;
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target === input;
    if (event.key === "Escape") {
      if (input.value || wanted) {
        input.value = "";
        find(null);
      } else reset();
      input.blur();
    } else if (isTyping || event.target.closest("nav button")) return;
    else if (event.key === "/") input.focus();
    else if (event.key === "i") turn(!chart.inverted());
    else if (event.key.startsWith("Arrow")) {
      keep(step(event.key));
      place.querySelector("[data-focus]")?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && focus) chart.zoomTo(focus);
    else return;
    event.preventDefault();
  });
  at("turn").addEventListener("click", () => turn(!chart.inverted()));
  at("reset").addEventListener("click", reset);
  dark.addEventListener("change", () => {
    hitColour = hit();
    paintLegend();
    draw();
  });
  let resizing = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(resizing);
    resizing = requestAnimationFrame(() => {
      chart.transitionDuration(0);
      draw();
      chart.transitionDuration(motion());
    });
  });
  pane.addEventListener("scroll", pointer.hide, { passive: true });

  paintLegend();
  place.classList.add("grows-up");
  d3.select(place).datum(root).call(chart);
  // The first picture is there at once, and only its words come with the next frame: new boxes would grow for a quarter
  // of a second, whatever the duration is. From then on boxes move to where they go.
  d3.select(place).selectAll("g.frame").each(function settle() {
    d3.select(this).select("rect").interrupt().attr("width", this.getAttribute("width"));
  });
  mark();
  showCallers();
  requestAnimationFrame(() => setTimeout(() => {
    chart.transitionDuration(motion());
    document.documentElement.dataset.ready = "yes";
  }));
})();
