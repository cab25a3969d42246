(() => {
  const given = JSON.parse(document.getElementById("drowse").textContent);
  const root = document.documentElement;
  const own = "/.well-known/drowse/";
  const about = `path=${encodeURIComponent(location.pathname)}`;
  const minute = 60000;
  const loaded = Date.now();
  const all = (name) => document.querySelectorAll(`[data-drowse="${name}"]`);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const show = (name, shown) => all(name).forEach((one) => { one.hidden = !shown; });
  const write = (name, text) => all(name).forEach((one) => {
    // What is not new is not read out again.
    if (one.textContent !== text) one.textContent = text;
  });
  let state = given.state;
  let began = loaded - state.elapsed_ms;
  let source;
  let over = false;

  const isGoing = () => state.step === "starting" || state.step === "answering";
  const tick = () => {
    const going = isGoing();
    const passed = Math.max(0, Date.now() - began);
    const seconds = Math.floor(passed / 1000);
    const long = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const time = seconds < 60 ? given.seconds.replace("{}", seconds) : given.minutes.replace("{}", long);
    write("clock", going && seconds > 0 ? time : "");
    const part = passed / Math.max(state.usual_ms, 50);
    const percent = 97 * (1 - Math.exp(-(1.4 * part + 0.8 * part * part)));
    all("bar").forEach((bar) => {
      if (state.step === "ready") bar.value = 100;
      else if (going && state.usual_ms) bar.value = percent;
      else bar.removeAttribute("value");
    });
  };

  const steps = ["dependencies", "starting", "answering", "ready"];
  const draw = () => {
    root.dataset.step = state.step;
    document.title = `${state.title} · ${given.name}`;
    for (const name of ["title", "hint", "detail", "usual"]) write(name, state[name]);
    const failed = state.step === "failed";
    show("way", !failed);
    show("again", failed);
    show("detail", state.detail);
    const now = steps.indexOf(state.step);
    document.querySelectorAll("[data-drowse-step]").forEach((one) => {
      const at = steps.indexOf(one.dataset.drowseStep);
      if (at === now) one.hidden = false;
      one.dataset.state = at < now ? "done" : at === now ? "now" : "next";
      if (at === now) one.setAttribute("aria-current", "step");
      else one.removeAttribute("aria-current");
    });
    tick();
  };

  // How often this page has gone on by itself of late. Each time it waits longer, and at last it stops.
  const key = `drowse ${location.pathname}${location.search}`;
  const turns = () => {
    try {
      const kept = JSON.parse(sessionStorage.getItem(key)) || [];
      return kept.filter((at) => Date.now() - at < 10 * minute);
    } catch {
      return null;
    }
  };
  const end = () => {
    over = true;
    source?.close();
  };
  const stop = (why) => {
    end();
    state = { ...state, ...why, step: "failed", detail: "" };
    draw();
  };
  const goOn = async (atLeast) => {
    if (over) return;
    end();
    const before = turns();
    const count = before ? before.length : 3;
    if (count > 6) return stop(given.stopped);
    if (before) sessionStorage.setItem(key, JSON.stringify([...before, Date.now()]));
    await pause(Math.max(atLeast, count && 500 << count));
    location.reload();
  };

  const seen = () => new Promise((done) => {
    if (!document.hidden) return done();
    document.addEventListener("visibilitychange", done, { once: true });
  });
  const tell = (news) => {
    if (over) return;
    if (news.step === "asleep") {
      // The wake that this page began is no more. Nobody is woken for a page that nobody looks at.
      if (state.step !== "failed") seen().then(() => goOn(1500));
      return;
    }
    // The usual time is the workload's own, without what it needs.
    if (state.step === "dependencies") began = Date.now();
    else if (!isGoing()) began = Date.now() - news.elapsed_ms;
    state = news;
    draw();
    if (news.ready) goOn(0);
  };

  const ask = async () => {
    for (let failures = 0; !over;) {
      try {
        const answer = await fetch(`${own}ready?${about}&seen=${state.id}`, { cache: "no-store" });
        if (!answer.ok) return goOn(5000);
        const news = await answer.json();
        tell(news);
        failures = 0;
        await pause(news.pause_ms);
      } catch {
        failures += 1;
        await pause(Math.min(1000 * failures, 10000));
      }
    }
  };

  const listen = () => {
    if (!window.EventSource) return ask();
    source = new EventSource(`${own}events?${about}`);
    let watchdog;
    const giveUp = () => {
      clearTimeout(watchdog);
      if (over) return;
      source.close();
      ask();
    };
    // A proxy that gathers what passes lets nothing through, not even the first word.
    const isAlive = (ms) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(giveUp, ms);
    };
    isAlive(5000);
    source.addEventListener("beat", () => isAlive(40000));
    source.onmessage = (event) => {
      isAlive(40000);
      tell(JSON.parse(event.data));
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) giveUp();
    };
  };

  all("again").forEach((one) => one.addEventListener("click", (event) => {
    // A link would lose the fragment.
    event.preventDefault();
    try { sessionStorage.removeItem(key); } catch { /* Nothing is kept. */ }
    location.reload();
  }));
  // A page that everybody has forgotten asks nobody.
  setTimeout(() => { if (!over) stop(given.slow); }, 60 * minute);
  setInterval(tick, 250);
  draw();
  listen();
})();
