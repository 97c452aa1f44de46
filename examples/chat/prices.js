// Server-sent events: no library, and the browser resumes by itself where it was.

const body = document.getElementById("prices");
const state = document.getElementById("state");
const cells = new Map();

function show(share, price) {
  let cell = cells.get(share);
  if (cell === undefined) {
    const row = body.insertRow();
    row.insertCell().textContent = share;
    cell = row.insertCell();
    cells.set(share, cell);
  }
  if (cell.textContent !== "") cell.className = price < Number(cell.textContent) ? "down" : "up";
  cell.textContent = price.toFixed(2);
}

const source = new EventSource("sse?channel=prices");
source.addEventListener("ready", () => (state.textContent = "connected"));
source.onerror = () => (state.textContent = "disconnected, reconnecting");
source.onmessage = ({ data }) => {
  const { event, payload } = JSON.parse(data);
  show(event, payload);
};
