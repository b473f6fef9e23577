// The live face: sliders here, the generator in a worker. Nothing is loaded before the first drag.
// One picture is computed at a time; of the wishes that come meanwhile only the newest is kept.
(() => {
  const CANNOT = "The picture stands still: ";

  // Files as scripts: each calls this with its content, in base64. A page that is opened from a
  // folder may load scripts, and nothing else.
  const wanted = new Map();
  window.livePacked = (text) => {
    const words = atob(text);
    const bytes = new Uint8Array(words.length);
    for (let i = 0; i < words.length; i++) bytes[i] = words.charCodeAt(i);
    wanted.get(document.currentScript.src)?.(bytes);
  };

  function unpack(name, base) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`${name}.js`, base);
      wanted.set(script.src, resolve);
      script.onload = () => reject(new Error(`${name}.js holds nothing`));
      script.onerror = () => reject(new Error(`${name}.js was not found`));
      document.head.append(script);
    }).finally(() => wanted.delete(String(new URL(`${name}.js`, base))));
  }

  class Live {
    constructor(root) {
      this.root = root;
      this.base = new URL(root.dataset.base, location.href);
      const { sizes, count, packed } = JSON.parse(root.dataset.settings);
      Object.assign(this, { sizes, count, packed, seen: 0, asked: 0, busy: false, waiting: false, taken: 0 });
      this.face = { first: 0, second: 0, angle: 0 };
      this.canvas = root.querySelector("canvas");
      this.bar = root.querySelector("progress");
      this.status = root.querySelector(".live-status");
      this.controls = root.querySelector(".live-controls");
      this.inputs = [...root.querySelectorAll("input")];
      this.faces = root.querySelector("select");
      const reason = this.reason();
      if (reason) return this.stop(reason);
      this.controls.hidden = false;
      for (const input of this.inputs) {
        input.addEventListener("input", () => this.move(input));
        input.addEventListener("dblclick", () => this.move(input, 0));
      }
      root.querySelector(".live-new")?.addEventListener("click", () => this.renew());
      this.faces?.addEventListener("change", () => this.choose(this.faces.selectedIndex));
      root.querySelector(".live-reset").addEventListener("click", () => this.reset());
    }

    // Why it cannot run here; empty where it can.
    reason() {
      if (location.protocol === "file:" && !this.packed) {
        return "browsers load no models for a page that is opened from a folder. It moves where the site is served.";
      }
      if (!window.Worker || !window.WebAssembly || !window.DecompressionStream) {
        return "this browser is too old to run the generator.";
      }
      return "";
    }

    stop(reason) {
      this.worker?.terminate();
      this.worker = null;
      this.stopped = true;
      this.controls.hidden = this.bar.hidden = true;
      this.status.textContent = CANNOT + reason;
      this.root.dataset.state = "stopped";
    }

    move(input, value = Number(input.value)) {
      // Zero is easy to find again.
      if (Math.abs(value) < 0.03) input.value = 0;
      this.show(input);
      this.ask();
    }

    show(input) {
      const value = Number(input.value);
      const sign = value > 0 ? "+" : value < 0 ? "−" : "";
      input.previousElementSibling.textContent = sign + Math.abs(value).toFixed(2);
    }

    reset() {
      for (const input of this.inputs) {
        input.value = 0;
        this.show(input);
      }
      this.ask();
    }

    choose(index) {
      this.face = { first: index, second: index, angle: 0 };
      this.ask();
    }

    // Each of the faces once, then mixtures of two of them.
    renew() {
      this.seen += 1;
      const any = () => Math.floor(Math.random() * this.count);
      this.face =
        this.seen < this.count
          ? { first: this.seen, second: this.seen, angle: 0 }
          : { first: any(), second: any(), angle: (Math.random() * Math.PI) / 2 };
      this.ask();
    }

    ask() {
      if (this.stopped) return;
      this.asked += 1;
      this.root.dataset.asked = this.asked;
      if (!this.started) this.start();
      if (this.busy) this.waiting = true;
      else this.send();
    }

    async start() {
      this.started = this.busy = true;
      this.status.textContent = "Loading the generator …";
      this.bar.hidden = false;
      this.root.dataset.state = "loading";
      try {
        // A page that is opened from a folder may start no module, but a classic worker.
        this.worker = new Worker(await this.program(), { type: this.packed ? "classic" : "module" });
      } catch (error) {
        return this.stop(`the generator could not be started (${error.message}).`);
      }
      this.worker.onmessage = ({ data }) => this[data.kind](data);
      // Without a message: the module itself could not be loaded.
      this.worker.onerror = (event) => this.stop(`the generator could not be started (${event.message || "its program was not loaded"}).`);
      const only = new URLSearchParams(location.search).get("live");
      const { sizes, packed } = this;
      this.worker.postMessage({ kind: "load", base: this.base.href, sizes, packed, only });
    }

    // Where the worker's program is.
    async program() {
      if (!this.packed) return new URL("worker.js", this.base);
      const text = await unpack("worker.js", this.base);
      return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    }

    send() {
      const strengths = this.inputs.map((input) => Number(input.value));
      this.busy = true;
      this.waiting = false;
      this.worker.postMessage({ kind: "draw", seq: this.asked, face: this.face, strengths });
    }

    // Answers of the worker, by their kind.

    async file({ name }) {
      try {
        const bytes = await unpack(name, this.base);
        this.worker?.postMessage({ kind: "file", name, bytes }, [bytes.buffer]);
      } catch (error) {
        this.stop(`the generator could not be loaded (${error.message}).`);
      }
    }

    progress({ done, total }) {
      this.bar.value = done / total;
      this.status.textContent = `Loading the generator: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
    }

    opening() {
      this.bar.removeAttribute("value");
      this.status.textContent = "Opening the generator …";
    }

    ready({ bytes, device }) {
      this.device = device;
      this.bar.hidden = true;
      Object.assign(this.root.dataset, { state: "ready", bytes, device });
      this.send();
    }

    image({ seq, pixels, side, milliseconds, face }) {
      this.canvas.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
      this.canvas.hidden = false;
      this.taken = this.taken ? 0.8 * this.taken + 0.2 * milliseconds : milliseconds;
      const where = this.device === "webgpu" ? "your graphics card" : "your processor";
      this.status.textContent = `${Math.round(this.taken)} ms a picture, on ${where}. Nothing is sent anywhere.`;
      this.root.dataset.face = JSON.stringify(face);
      this.root.dataset.milliseconds = milliseconds;
      this.root.dataset.seq = seq;
      this.busy = false;
      if (this.waiting) this.send();
    }

    failed({ text }) {
      this.stop(`the generator could not be run here (${text}).`);
    }
  }

  for (const root of document.querySelectorAll(".live")) {
    if (!root.dataset.state) {
      root.dataset.state = "still";
      new Live(root);
    }
  }
})();
