(async () => {
  const loaded = Date.now();
  const { phase, elapsed, retryAfter } = document.documentElement.dataset;
  const show = (id, text) => { document.getElementById(id).textContent = text; };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const goOn = async (ms) => { await pause(ms); location.reload(); };
  if (retryAfter) return goOn(retryAfter * 1000);

  const began = loaded - elapsed;
  setInterval(() => show("clock", `${Math.round((Date.now() - began) / 1000)} s`), 1000);
  for (let seen = phase; ;) {
    try {
      const answer = await fetch(`/.well-known/drowse/ready?seen=${seen}`, {
        cache: "no-store",
        headers: { "drowse-path": location.pathname },
      });
      if (!answer.ok) return goOn(5000);
      const state = await answer.json();
      show("words", state.text);
      show("detail", state.detail);
      // Never reload in a tight loop, should it be ready and fail again at once.
      if (state.ready) return goOn(Math.max(0, 400 - (Date.now() - loaded)));
      if (state.retry_after) return goOn(state.retry_after * 1000);
      seen = state.phase;
    } catch {
      await pause(2000);
    }
  }
})();
