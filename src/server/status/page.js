// Keeps a page fresh while somebody looks at it, and copies commands. The page works without.
"use strict";
(() => {
  const EVERY = 5000;
  const main = document.getElementById("main");
  const note = document.getElementById("refresh");
  let isPaused = false;
  let timer = 0;

  // What a refresh would take away: a field that is being filled in, a text that is being marked.
  const isBusy = () => {
    const active = document.activeElement;
    const isTyping = active && active.matches("input") && main.contains(active);
    const filled = [...main.querySelectorAll("input")].some((field) => field.value !== "");
    const marked = String(window.getSelection()) !== "";
    return isTyping || filled || marked;
  };

  // Where an element is found again in the new page.
  const path = (element) => {
    const steps = [];
    for (let at = element; at && at !== main; at = at.parentElement) {
      steps.unshift([...at.parentElement.children].indexOf(at));
    }
    return steps;
  };
  const at = (steps) => steps.reduce((element, step) => element && element.children[step], main);

  const show = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) throw new Error("no page");
    const focused = main.contains(document.activeElement) ? path(document.activeElement) : null;
    const scrolled = [...main.querySelectorAll(".scroll")].map((region) => region.scrollLeft);
    document.title = page.title;
    main.replaceChildren(...fresh.childNodes);
    main.querySelectorAll(".scroll").forEach((region, place) => { region.scrollLeft = scrolled[place] || 0; });
    enableCopying();
    if (focused) {
      const again = at(focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (isPaused || document.hidden) return;
    try {
      if (!isBusy()) {
        const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(8000) });
        const text = await answer.text();
        if (!isPaused && !isBusy()) show(text);
      }
      tell("");
    } catch {
      tell("The daemon does not answer; what is shown is from before. ");
    }
    timer = setTimeout(refresh, EVERY);
  };

  const words = document.createElement("span");
  words.setAttribute("role", "status");
  const button = document.createElement("button");
  button.type = "button";
  const tell = (text) => { if (words.textContent !== text) words.textContent = text; };
  const name = () => { button.textContent = isPaused ? "Go on refreshing" : "Stop refreshing"; };

  if (document.body.hasAttribute("data-refresh")) {
    name();
    note.append(words, button);
    button.addEventListener("click", () => {
      isPaused = !isPaused;
      name();
      refresh();
    });
    document.addEventListener("visibilitychange", refresh);
    timer = setTimeout(refresh, EVERY);
  }

  const enableCopying = () => main.querySelectorAll("[data-copy]").forEach((copy) => { copy.hidden = false; });
  enableCopying();
  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    const code = document.getElementById(copy.dataset.copy);
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = "Copied";
    } catch {
      // Without a secure context there is no clipboard: marked, it can be copied by hand.
      window.getSelection().selectAllChildren(code);
      copy.textContent = "Marked: copy it";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 2000);
  });
})();
