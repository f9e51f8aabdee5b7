// Every stored text is put in as a text node, never as markup.
const { arms, questions } = await rows();
const OUTCOMES = { correct: "✓", incorrect: "✗", error: "!", unscored: "–" };
const PAGE = 50;

const filters = document.getElementById("filters");
const list = document.getElementById("list");
const more = document.getElementById("more");
const seeds = new Set(questions.flatMap((question) => question.answers.map((answer) => answer.seed)));
let matching = questions;

async function rows() {
  if (!globalThis.DecompressionStream) {
    const words = "Reading the questions needs Chrome 97, Firefox 113, Safari 16.4 or newer; the rows are also in predictions.jsonl.";
    document.getElementById("count").textContent = words;
    throw new Error(words);
  }
  const packed = atob(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

const arm = (answer) => arms[answer.arm] + (seeds.size > 1 ? `, seed ${answer.seed}` : "");
const link = (question) => `#${encodeURIComponent(question.id)}`;
const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
const percent = (share) => `${Math.round(100 * share)}%`;
const tokens = (used) => `${(used.prompt + used.completion).toLocaleString("en")} tokens (${used.cached.toLocaleString("en")} cached)`;

// ---- searching

function passes(question, wanted, words) {
  if (wanted.memory && question.memory !== wanted.memory) return false;
  if (wanted.type && !question.types.includes(wanted.type)) return false;
  return question.answers.some((answer) => {
    if (wanted.arm && answer.arm !== wanted.arm) return false;
    if (wanted.outcome && answer.label !== wanted.outcome) return false;
    const text = `${question.id}\n${question.question}\n${question.gold ?? ""}\n${answer.answer}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

function search() {
  const wanted = Object.fromEntries(new FormData(filters));
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  matching = questions.filter((question) => passes(question, wanted, words));
  const found = matching.length === questions.length ? "" : `${matching.length.toLocaleString("en")} of `;
  document.getElementById("count").textContent = `${found}${questions.length.toLocaleString("en")} questions`;
  list.replaceChildren();
  show(PAGE);
}

function show(count) {
  const start = list.childElementCount;
  list.append(...matching.slice(start, start + count).map(row));
  const left = matching.length - list.childElementCount;
  more.hidden = left === 0;
  more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en")}`;
}

// ---- a question

function row(question) {
  const main = question.answers.find((answer) => answer.arm === filters.elements.arm.value) ?? question.answers[0];
  const brief = `gold: ${question.gold ?? "none"} · ${main.error ? "error" : "answer"}: ${main.error || main.answer || "(empty)"}`;
  const details = make("details", { class: "question" },
    make("summary", {},
      make("span", { class: "marks" }, ...question.answers.map(mark)),
      make("span", { class: "asked" }, question.question, make("span", { class: "brief" }, brief)),
      make("span", { class: "id mono" }, question.id)));
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    if (details.childElementCount === 1) details.append(detail(question, main));
    history.replaceState(null, "", link(question));
  });
  return details;
}

function mark(answer) {
  const words = `${arm(answer)}: ${answer.label}`;
  return make("span", { class: answer.label, title: words },
    make("span", { "aria-hidden": "true" }, OUTCOMES[answer.label]), make("span", { class: "hidden" }, `${words}. `));
}

function detail(question, main) {
  const reading = make("div", {});
  const cards = question.answers.map((answer) => card(question, answer, choose));
  function choose(answer) {
    cards.forEach((element, number) => {
      const chosen = question.answers[number] === answer;
      element.classList.toggle("chosen", chosen);
      element.querySelector("button").setAttribute("aria-pressed", chosen);
    });
    reading.replaceChildren(...transcript(question, answer));
  }
  choose(main);
  return make("div", { class: "detail" }, facts(question), make("div", { class: "cards" }, ...cards), reading);
}

function facts(question) {
  const entries = {
    "Gold answer": question.gold ?? "none: not scored",
    "Gold positions": question.evidence.join(", ") || (question.answerable ? "not known" : "none: memory does not tell"),
    Type: question.types.join(", ") || "none",
    Memory: question.memory,
    "Asked as of": `${question.until === null ? "the end" : `position ${question.until}`} (${question.candidates} positions)`,
  };
  const pairs = Object.entries(entries).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  pairs.push(make("div", {}, make("dt", {}, "Link"), make("dd", {}, make("a", { href: link(question), class: "mono" }, question.id))));
  return make("dl", { class: "facts" }, ...pairs);
}

function card(question, answer, choose) {
  const button = make("button", { type: "button" }, "Transcript");
  button.addEventListener("click", () => choose(answer));
  const shown = question.evidence.filter((position) => answer.shown.includes(position)).length;
  const notes = [
    question.evidence.length ? `${shown} of ${question.evidence.length} gold shown` : null,
    plural(answer.rounds, "round", "rounds"), plural(answer.searches, "search", "searches"), `${answer.seconds.toFixed(2)}\u00a0s`,
    answer.forced ? "forced answer" : null,
    answer.unparsable ? `${answer.unparsable} unparsable` : null,
  ];
  return make("article", { class: "card" },
    make("h4", {}, make("span", {}, arm(answer)), make("span", { class: answer.label }, `${OUTCOMES[answer.label]} ${answer.label}`)),
    answer.error ? make("p", { class: "answer error" }, answer.error)
      : make("p", { class: `answer ${answer.answer ? "" : "none"}` }, answer.answer || "empty answer"),
    make("p", { class: "note" }, notes.filter(Boolean).join(" · ")), button);
}

// ---- a transcript

function transcript(question, answer) {
  return [
    make("h3", {}, `Transcript: ${arm(answer)}`),
    answer.messages.length ? rounds(question, answer) : make("p", { class: "none" }, "no dialogue was kept"),
    answer.error ? make("p", { class: "failed" }, answer.error) : null,
    make("h3", {}, "Judge"), judged(answer),
    make("h3", {}, "Cost and retrieval"),
    make("p", { class: "note" }, [
      `controller ${tokens(answer.controller)}`, `reader ${tokens(answer.reader)}`, `${answer.seconds.toFixed(3)} s`,
      plural(answer.rounds, "round", "rounds"), `forced: ${answer.forced ? "yes" : "no"}`, `unparsable turns: ${answer.unparsable}`,
    ].join(" · ")),
    ranked(question, answer),
  ].filter(Boolean);
}

function rounds(question, answer) {
  const list = make("ol", { class: "rounds" });
  let turn = null;
  let number = 0;
  answer.messages.forEach((message, place) => {
    if (turn === null || message.role === "ai") {
      turn = make("li", {}, message.role === "ai" ? make("h5", {}, heading(answer, message, ++number, place)) : null);
      list.append(turn);
    }
    turn.append(...(message.role === "tool" ? [found(question, answer, message)] : said(message)));
  });
  return list;
}

function heading(answer, message, number, place) {
  if (message.calls) return `Round ${number}`;
  if (place < answer.messages.length - 1 || !answer.answer) return `Round ${number}: unparsable turn`;
  return `Round ${number}: ${answer.forced ? "forced answer" : "answer"}`;
}

function said(message) {
  const text = message.text ? [make("p", { class: "said" }, message.text)] : [];
  const calls = (message.calls ?? []).map((call) =>
    make("p", { class: "call" }, make("code", {}, call.name), ` “${call.query}” `, make("span", { class: "note" }, call.more)));
  return text.length + calls.length ? [...text, ...calls] : [make("p", { class: "none" }, "empty message")];
}

function found(question, answer, message) {
  const here = new Set(message.positions ?? []);
  const gold = new Set(question.evidence);
  const best = answer.shown.filter((position) => here.has(position));
  const chips = best.map((position) => chip(position, gold.has(position) ? "hit" : ""));
  const last = message === answer.messages.findLast((other) => other.role === "tool");
  const missed = question.evidence.filter((position) => last && !answer.shown.includes(position)).map((position) => chip(position, "miss"));
  const lines = make("div", { class: "lines", tabindex: "0", role: "region", "aria-label": "what the search returned" },
    ...message.text.split(/\n(?! {4})/).map((record) => {
      const position = /^\[(\d+)[\] ]/.exec(record);
      return make("div", position && gold.has(Number(position[1])) ? { class: "gold" } : {}, record);
    }));
  return make("div", { class: "found" },
    message.written ? make("p", { class: "note" }, written(message.written)) : null,
    make("div", { class: "positions" }, chips.length ? (message.written ? "positions named:" : "positions, best first:") : "no positions",
      ...chips, missed.length ? "gold never shown:" : null, ...missed), lines);
}

function written({ model, usage, seconds, invented }) {
  const share = usage.prompt_tokens ? Math.round((100 * usage.cached_tokens) / usage.prompt_tokens) : 0;
  const tokens = [usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens].map((count) => count.toLocaleString("en"));
  return `written by ${model} in ${seconds.toFixed(2)} s: ${tokens[0]} prompt tokens, ${tokens[1]} of them (${share}%) from ` +
    `the server’s cache, ${tokens[2]} written` + (invented ? `; ${invented} position(s) that it invented were dropped` : "");
}

function chip(position, kind) {
  const sign = { hit: "✓ ", miss: "✗ " }[kind] ?? "";
  const title = { hit: "gold, shown", miss: "gold, not shown" }[kind] ?? "not gold";
  return make("span", { class: `position ${kind}`, title }, sign + position);
}

function judged(answer) {
  const parts = [answer.label, answer.flagged ? "the reply could not be read" : "",
    answer.other && answer.other !== answer.label ? `the other parse says ${answer.other}` : "", `token F1 ${percent(answer.f1)}`];
  return make("div", {},
    make("p", { class: "said" }, make("strong", { class: answer.label }, parts[0]), ` · ${parts.slice(1).filter(Boolean).join(" · ")}`),
    answer.raw ? make("pre", { class: "said", tabindex: "0" }, answer.raw) : null);
}

function ranked(question, answer) {
  if (!answer.ranking.length || !question.evidence.length) return null;
  const chips = question.evidence.map((position) => {
    const rank = answer.ranking.indexOf(position) + 1;
    return make("span", { class: `position ${rank ? "hit" : "miss"}` }, rank ? `${position}: rank ${rank}` : `${position}: not found`);
  });
  const words = `a direct read with the question ranks gold, among its first ${answer.ranking.length} of ${question.candidates}:`;
  return make("div", { class: "positions note" }, words, ...chips);
}

// ---- the page

function choices(name, values, words = (value) => value) {
  filters.elements[name].append(...values.map((value) => make("option", { value }, words(value))));
}

function follow() {
  let id;
  try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
  if (!id || !questions.some((question) => question.id === id)) return;
  if (!matching.some((question) => question.id === id)) {
    filters.reset();
    filters.elements.arm.value = "";
    search();
  }
  const place = matching.findIndex((question) => question.id === id);
  if (place >= list.childElementCount) show(Math.ceil((place + 1) / PAGE) * PAGE - list.childElementCount);
  const element = list.children[place];
  const arrive = () => {
    element.scrollIntoView({ block: "start", behavior: "instant" });
    element.firstElementChild.focus({ preventScroll: true });
  };
  if (element.open) return arrive();
  element.addEventListener("toggle", arrive, { once: true });
  element.open = true;
}

const distinct = (values) => [...new Set(values)].sort();
choices("arm", Object.keys(arms), (name) => arms[name]);
filters.elements.arm.options[1].defaultSelected = true; // so that an outcome is the main reader's, unless another is chosen
choices("outcome", Object.keys(OUTCOMES));
choices("type", distinct(questions.flatMap((question) => question.types)));
choices("memory", distinct(questions.map((question) => question.memory)));
document.getElementById("legend").textContent =
  `Marks from left to right: ${Object.values(arms).join(", ")}. ✓ correct, ✗ incorrect, ! error, – unscored.`;
filters.addEventListener("input", search);
filters.addEventListener("submit", (event) => event.preventDefault());
document.getElementById("clear").addEventListener("click", () => { filters.reset(); search(); });
more.addEventListener("click", () => show(PAGE));
addEventListener("hashchange", follow);
search();
follow();
