// Shows the votes of a poll as they come in. Without this script, the page shows them as they were
// when it was loaded.

const RETRY_MS = 5000;

const results = document.querySelector("[data-live]");
const status = document.querySelector("[data-status]");

function follow() {
  const source = new EventSource(results.dataset.live);

  source.onopen = () => say("live", "Live");
  source.onmessage = (event) => show(JSON.parse(event.data).votes);
  source.onerror = () => {
    say("waiting", "Connecting again …");

    // The browser connects again after a lost connection, but not after an error of the server.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(follow, RETRY_MS);
    }
  };
}

function show(votes) {
  const total = votes.reduce((sum, count) => sum + count, 0);

  results.querySelectorAll("li").forEach((row, index) => {
    const count = votes[index];
    const share = Math.round((100 * count) / (total || 1));
    const bar = row.querySelector("progress");
    bar.max = total || 1;
    bar.value = count;
    row.querySelector("[data-share]").textContent = `${share} %`;
    row.querySelector("[data-votes]").textContent = count;
  });

  const noun = total === 1 ? "vote" : "votes";
  document.querySelector("[data-total]").textContent = `${total} ${noun}`;
}

function say(state, text) {
  status.className = `status ${state}`;
  status.textContent = text;
}

follow();
