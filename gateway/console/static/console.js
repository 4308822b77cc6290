// What a page gains by a script: it stays up to date, a new key is copied by a button, and a button that was pressed is
// not pressed twice. Without one it is whole.
"use strict";

const main = document.getElementById("main");
const live = document.getElementById("live");
const every = Number(main.dataset.refresh || 0) * 1000;
const within = 30000;
let paused = false;

const clock = () => new Date().toLocaleTimeString();

// What a person is about to use must stay where it is.
function busy() {
  const active = document.activeElement;
  const typing = main.contains(active) && active.matches("input, textarea, select");
  const selection = document.getSelection();
  return paused || document.hidden || typing || (selection && !selection.isCollapsed);
}

// The same place in what was made anew: by id, by what it leads to, by the details that it opens.
function placeOf(element) {
  if (!element || !main.contains(element)) {
    return null;
  }
  if (element.id) {
    return "#" + CSS.escape(element.id);
  }
  if (element.getAttribute("href")) {
    return 'a[href="' + CSS.escape(element.getAttribute("href")) + '"]';
  }
  const details = element.closest("details[id]");
  return details ? "#" + CSS.escape(details.id) + " > summary" : null;
}

function take(made) {
  for (const open of main.querySelectorAll("details[open]")) {
    made.querySelector("#" + CSS.escape(open.id))?.setAttribute("open", "");
  }
  const before = [...main.children];
  const after = [...made.children];
  const place = placeOf(document.activeElement);
  if (before.length !== after.length) {
    main.replaceChildren(...made.childNodes);
  } else {
    before.forEach((old, at) => old.isEqualNode(after[at]) || old.replaceWith(after[at]));
  }
  if (place && !main.contains(document.activeElement)) {
    main.querySelector(place)?.focus({ preventScroll: true });
  }
}

class Failed extends Error {
  constructor(status) {
    super("The gateway answers with an error (" + status + ")");
  }
}

async function refresh() {
  const answer = await fetch(location.href, {
    credentials: "same-origin",
    headers: { "x-console-refresh": "1" }, // no person opened it: the session goes on no longer by it
    signal: AbortSignal.timeout(within),
  });
  if (answer.status === 401) {
    location.reload(); // the session has ended
    return false;
  }
  if (!answer.ok) {
    throw new Failed(answer.status);
  }
  const made = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  const goesOn = Boolean(made.dataset.refresh);
  if (busy()) {
    return true; // meanwhile something was selected, or is being written
  }
  take(made);
  return goesOn;
}

async function stayUpToDate() {
  const updated = document.getElementById("updated");
  const trouble = document.getElementById("trouble");
  let last = clock();
  let goesOn = true;
  live.hidden = false;
  updated.textContent = "Updated " + last + ".";
  while (goesOn) {
    await new Promise((done) => setTimeout(done, every));
    if (busy()) {
      continue;
    }
    try {
      goesOn = await refresh();
      last = clock();
      updated.textContent = "Updated " + last + ".";
      if (trouble.textContent) {
        trouble.textContent = "";
      }
    } catch (error) {
      const what = error instanceof Failed ? error.message : "The gateway does not answer";
      const told = what + " since " + last + ": what is shown is old.";
      if (trouble.textContent !== told) {
        trouble.textContent = told;
      }
    }
  }
  live.hidden = true;
}

if (every && live) {
  const pause = document.getElementById("pause");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
  });
  stayUpToDate();
}

for (const form of document.querySelectorAll('form[method="post"]')) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button");
    setTimeout(() => { button.disabled = true; }, 0);
    addEventListener("pageshow", () => { button.disabled = false; }, { once: true });
  });
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (navigator.clipboard) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        document.getSelection().selectAllChildren(text); // it may not write there; a person can
      }
    });
  }
}
