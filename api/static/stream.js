// Hears of each step of one environment as it happens. The page looks at once, and looks now and then all the same.

/** Call `changed` for each event at `address`, while somebody looks: a browser has few connections for all its tabs. */
export function stream(address, changed) {
  let events = null;
  let after = "";
  let over = false;

  function open() {
    if (events || over || document.hidden) return;
    events = new EventSource(after ? address.replace(/after=[^&]*/, `after=${after}`) : address);
    events.addEventListener("state", ({ lastEventId }) => {
      after = lastEventId;
      changed();
    });
    events.addEventListener("end", () => {
      over = true;
      close();
    });
  }

  function close() {
    events?.close();
    events = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}
