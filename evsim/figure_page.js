// Shows the figure that plot_current.py draws, in the words of Matplotlib's WebAgg: a PNG is the
// whole figure, or in the mode "diff" what has changed, transparent elsewhere.
"use strict";

const TRY_AGAIN_MS = 1000;
const canvas = document.getElementById("figure");
const problem = document.getElementById("problem");

function connect() {
  const socket = new WebSocket(`ws://${location.host}/socket`);
  let mode = "full";
  let shown = Promise.resolve(); // decoding takes its time: one after the other

  const say = (type, more = {}) => socket.send(JSON.stringify({ type, ...more }));

  async function show(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "image_mode") mode = message.mode;
      if (message.type === "resize") canvas.style.width = `${message.size[0]}px`;
      return;
    }
    const image = await createImageBitmap(data);
    if (mode === "full" && (canvas.width !== image.width || canvas.height !== image.height)) {
      canvas.width = image.width;
      canvas.height = image.height;
    }
    canvas.getContext("2d").drawImage(image, 0, 0);
  }

  socket.onopen = () => {
    problem.hidden = true;
    canvas.classList.remove("old");
    say("set_device_pixel_ratio", { device_pixel_ratio: window.devicePixelRatio || 1 });
    say("refresh");
  };
  socket.onmessage = (event) => {
    shown = shown.then(() => show(event.data)).catch(() => say("refresh"));
  };
  socket.onclose = () => {
    problem.hidden = false;
    canvas.classList.add("old");
    setTimeout(connect, TRY_AGAIN_MS);
  };
}

connect();
