"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const PAGE = 50;

/** A new element: attributes, then children, which are nodes or texts. Nothing is ever parsed as HTML. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
const number = (value, digits = 0) => value === null || value === undefined ? "" : value.toLocaleString("en", { maximumFractionDigits: digits });

/* Summary, recipe */
$("where").textContent = data.output;
for (const [name, value] of data.summary) $("summary").append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
$("recipe").textContent = data.recipe;

/* Before and after: one clip that holds both, so that they are always in step */
const video = el("video", { muted: "", playsinline: "", preload: "auto" });
video.muted = video.loop = true;
const shown = data.rows.filter((row) => row.clip);
let at = -1;

function draw() {
  const canvas = $("picture"), half = video.videoWidth / 2, height = video.videoHeight;
  if (!half) return;
  if (canvas.width !== half || canvas.height !== height) [canvas.width, canvas.height] = [half, height];
  const line = Math.round(half * $("wipe").value / 100), pen = canvas.getContext("2d");
  pen.drawImage(video, half, 0, half, height, 0, 0, half, height);
  if (line > 0) pen.drawImage(video, 0, 0, line, height, 0, 0, line, height);
  pen.fillStyle = "#fff";
  pen.fillRect(line - 1, 0, 2, height);
  if (video.duration) $("time").value = video.currentTime / video.duration;
}
function everyFrame() {
  draw();
  if (!video.paused) requestAnimationFrame(everyFrame);
}
function show(row) {
  at = shown.indexOf(row);
  video.pause();
  video.src = row.clip;
  $("playing").textContent = `${at + 1} of ${shown.length}: ${row.id}, ${row.prompt}`;
  $("sheet").hidden = !row.sheet;
  if (row.sheet) { $("sheet").src = row.sheet; $("sheet").alt = `Frames of ${row.id}, the source above the result`; }
}
const step = (by) => show(shown[(at + by + shown.length) % shown.length]);
if (shown.length) {
  $("stage").hidden = false;
  for (const event of ["loadeddata", "seeked", "timeupdate"]) video.addEventListener(event, draw);
  for (const event of ["play", "pause"]) video.addEventListener(event, () => {
    $("play").textContent = video.paused ? "Play" : "Pause";
    $("play").setAttribute("aria-pressed", String(!video.paused));
    everyFrame();
  });
  video.addEventListener("error", () => { $("playing").textContent = `${shown[at].clip} cannot be played here`; });
  $("play").addEventListener("click", () => video.paused ? video.play() : video.pause());
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("wipe").addEventListener("input", draw);
  $("time").addEventListener("input", () => { if (video.duration) video.currentTime = $("time").value * video.duration; });
  const wipe = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = $("picture").getBoundingClientRect();
    const scale = Math.min(box.width / $("picture").width, box.height / $("picture").height);
    const wide = $("picture").width * scale, left = box.left + (box.width - wide) / 2;
    $("wipe").value = 100 * (event.clientX - left) / wide;
    draw();
  };
  for (const event of ["pointerdown", "pointermove"]) $("picture").addEventListener(event, wipe);
  show(shown[0]);
} else {
  $("player-note").textContent = "No clips: run with --set \"output.previews=['sheet','side_by_side']\".";
}

/* The table of rows */
const columns = [
  ["id", "id", "id"], ["status", "status", ""], ["prompt", "prompt", "text"], ["notes", "error or warning", "text"], ["frames", "frames", "number"],
  ["seconds", "video, s", "number"], ["size", "size", ""], ["t2i", "T2I, s", "number"], ["t2v", "T2V, s", "number"],
  ["bytes", "MB", "number"], ["attempts", "attempts", "number"],
];
let key = null, down = false, page = 0;
const heads = columns.map(([name, title]) => {
  const head = el("th", { scope: "col" }, el("button", { type: "button" }, title));
  head.firstChild.addEventListener("click", () => { [key, down, page] = [name, key === name && !down, 0]; fill(); });
  return head;
});
$("table").tHead.rows[0].append(heads[0], el("th", { scope: "col" }, "open"), ...heads.slice(1));

const compare = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : (a < b ? -1 : 1) * (down ? -1 : 1);
function chosen() {
  const wanted = $("find").value.toLowerCase(), only = $("only").value;
  const found = data.rows.filter((row) => (!only || row.status === only) && (!wanted || `${row.id} ${row.prompt} ${row.notes}`.toLowerCase().includes(wanted)));
  return key ? found.sort((a, b) => compare(a[key], b[key])) : found;
}
function cell(row, [name, , kind]) {
  if (name === "status") return el("td", { class: row.status }, row.status);
  const value = kind !== "number" ? row[name] ?? "" : name === "bytes" ? (row.bytes === null ? "" : number(row.bytes / 1e6, 2)) : number(row[name], 2);
  return el("td", { class: kind }, String(value));
}
function links(row) {
  const made = el("td");
  if (row.clip) {
    const watch = el("button", { type: "button", "aria-label": `Watch ${row.id}` }, "watch");
    watch.addEventListener("click", () => { show(row); $("player").scrollIntoView(); $("play").focus(); });
    made.append(watch, " ");
  }
  for (const [name, target] of [["result", row.result], ["source", row.source], ["sheet", row.sheet]]) {
    if (target) made.append(el("a", { href: target }, name), " ");
  }
  return made;
}
function fill() {
  const found = chosen(), pages = Math.max(1, Math.ceil(found.length / PAGE));
  page = Math.min(page, pages - 1);
  $("table").tBodies[0].replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map((row) => {
    const [id, ...others] = columns.map((column) => cell(row, column));
    return el("tr", {}, id, links(row), ...others);
  }));
  $("count").textContent = `${number(found.length)} rows${data.left_out ? `; ${number(data.left_out)} more are in the manifest only` : ""}`;
  $("page").textContent = `page ${page + 1} of ${pages}`;
  $("back").disabled = page === 0;
  $("forth").disabled = page === pages - 1;
  heads.forEach((head, index) => head.setAttribute("aria-sort", columns[index][0] === key ? (down ? "descending" : "ascending") : "none"));
}
for (const id of ["find", "only"]) $(id).addEventListener("input", () => { page = 0; fill(); });
$("back").addEventListener("click", () => { page -= 1; fill(); });
$("forth").addEventListener("click", () => { page += 1; fill(); });
fill();

/* Failures by cause */
if (!data.failures.length) $("failures").append("None.");
for (const cause of data.failures) {
  const list = el("ul", {}, ...cause.examples.map(([id, stage, message]) => el("li", {}, `${id} (${stage}): ${message}`)));
  const only = el("button", { type: "button" }, "show these rows");
  only.addEventListener("click", () => { $("find").value = cause.type; $("only").value = "failed"; page = 0; fill(); $("rows").scrollIntoView(); });
  $("failures").append(el("details", {}, el("summary", {}, el("b", { class: "failed" }, `${number(cause.count)} × ${cause.type}`), ` ${cause.meaning}`), el("p", {}, `What to do: ${cause.fix}. `, only), list));
}

/* Workers and stages */
const hues = new Map(data.stages.map((stage, index) => [stage[0], `hsl(${(index * 137) % 360} 60% 50%)`]));
function table(id, head, rows) {
  const line = (kind, cells) => el("tr", {}, ...cells.map((value, index) => index ? el(kind, kind === "td" ? { class: "number" } : { class: "number", scope: "col" }, typeof value === "number" ? number(value, 2) : value ?? "") : el("th", { scope: kind === "th" ? "col" : "row" }, value)));
  $(id).replaceChildren(el("thead", {}, line("th", head)), el("tbody", {}, ...rows.map((cells) => line("td", cells))));
}
$("reached").textContent = data.reached;
table("stages", ["stage", "calls", "frames", "busy, s", "ms a frame", "filled"], data.stages);
table("workers", ["worker", "calls", "frames", "busy, s", "idle, s", "memory, GB"], data.workers);
function timeline() {
  const lanes = [...new Set(data.calls.map((call) => call[0]))].sort(), end = Math.max(1e-9, ...data.calls.map((call) => call[3]));
  const canvas = $("timeline"), sharp = window.devicePixelRatio || 1, wide = canvas.parentElement.clientWidth, tall = 22 * lanes.length + 20, left = 110;
  [canvas.width, canvas.height] = [wide * sharp, tall * sharp];
  [canvas.style.width, canvas.style.height] = [`${wide}px`, `${tall}px`];
  const pen = canvas.getContext("2d"), ink = getComputedStyle(document.body).color;
  pen.scale(sharp, sharp);
  pen.font = "12px system-ui";
  const x = (second) => left + (wide - left - 8) * second / end;
  lanes.forEach((lane, row) => { pen.fillStyle = ink; pen.fillText(lane, 0, 22 * row + 15, left - 6); });
  for (const [lane, stage, from, to] of data.calls) {
    pen.fillStyle = hues.get(stage) ?? "#888";
    pen.fillRect(x(from), 22 * lanes.indexOf(lane) + 2, Math.max(1, x(to) - x(from)), 18);
  }
  pen.fillStyle = ink;
  for (let tick = 0; tick <= 4; tick += 1) pen.fillText(`${number(end * tick / 4, 1)} s`, Math.min(x(end * tick / 4), wide - 45), tall - 4);
}
if (!data.calls.length) $("legend").append("Calls and sums are recorded when a driver ends; this one has not ended, or was killed.");
if (data.calls.length) {
  timeline();
  window.addEventListener("resize", timeline);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", timeline);
  for (const [stage, hue] of hues) { const swatch = el("span", { class: "swatch" }); swatch.style.background = hue; $("legend").append(swatch, stage); }
}

/* Quality */
if (!data.quality.length) $("quality").append("Not measured: evs-batch evaluate does it.");
function bars(kind, counts, label) {
  const most = Math.max(1, ...counts), made = el("span", { class: `bars ${kind}`, role: "img", "aria-label": label });
  for (const count of counts) { const bar = el("span"); bar.style.height = `${100 * count / most}%`; made.append(bar); }
  return made;
}
for (const metric of data.quality) {
  const range = `${number(metric.low, 4)} to ${number(metric.high, 4)}`;
  const sides = [["source", metric.source, metric.source_bins], ["result", metric.result, metric.result_bins]].filter(([, mean]) => mean !== null);
  $("quality").append(el("h3", {}, metric.name), el("p", {}, ...sides.flatMap(([side, mean, bins]) => [`${side} ${number(mean, 4)} `, bars(side, bins, `${side}, ${metric.rows} rows from ${range}: ${bins.join(", ")}`), " "]), el("span", { class: "soft" }, `${number(metric.rows)} rows, ${range}`)));
}
