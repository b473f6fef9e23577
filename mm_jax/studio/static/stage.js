// The stage: one canvas before and one after for each face, drawn from frames of a websocket.
// A message is the length of a JSON header (4 bytes, little-endian), the header, and JPEG files.
export default {
  template: `
    <div class="stage" :class="['mode-' + shown, { holding, playing }]" :style="{ '--n': names.length }"
         :data-seq="seq" :data-frame="frame" role="group" :aria-label="names.length + ' faces'">
      <div v-for="(name, i) in names" :key="name" class="cell" :class="{ chosen: i === chosen && names.length > 1 }">
        <div class="pictures" :style="{ '--split': split + '%' }" @pointerdown="drag" @pointermove="drag">
          <canvas ref="before" class="before" role="img" :aria-label="name + ' before the edit'"></canvas>
          <canvas ref="after" class="after" role="img" :aria-label="name + ' after the edit'"></canvas>
          <div v-if="shown === 'split'" class="line" role="slider" tabindex="0" aria-label="Split between before and after"
               aria-valuemin="0" aria-valuemax="100" :aria-valuenow="Math.round(split)" @keydown="nudge"></div>
          <span v-if="shown === 'split'" class="tag left">before</span>
          <span v-if="shown === 'split'" class="tag right">after</span>
          <span v-if="holding" class="tag left">before</span>
          <span v-if="shown === 'difference'" class="tag left">difference</span>
        </div>
        <button v-if="names.length > 1" class="name" :aria-pressed="i === chosen" @click="$emit('choose', i)">{{ titles[i] }}</button>
      </div>
      <div v-if="photo" class="photo" role="dialog" aria-label="The photo with the edited face">
        <img :src="photo" alt="The photo with the edited face put back">
        <button class="close" aria-label="Close the photo" @click="closePhoto">×</button>
      </div>
    </div>`,
  props: { names: Array, titles: Array, chosen: Number, mode: String, socket: String },
  emits: ["choose", "size", "key"],
  data: () => ({ seq: 0, frame: 0, split: 50, holding: false, playing: false, photo: "", shown: "edited" }),
  watch: {
    mode: { immediate: true, handler(mode) { this.shown = mode; } },
    names() { this.stop(); this.$nextTick(this.redraw); },
  },
  mounted() {
    this.last = { before: [], edited: [] };
    this.painted = {};
    this.frames = [];
    this.asked = this.collected = 0;
    this.onKey = (event) => {
      // A slider that was dragged keeps the focus, and takes no letters.
      const typing = /^(input|textarea|select)$/i.test(event.target.tagName) && event.target.type !== "range";
      const ctrl = event.ctrlKey || event.metaKey, key = event.key.toLowerCase(), down = event.type === "keydown";
      if (typing || event.altKey || (down && document.querySelector(".q-dialog"))) return;
      if (key === "b" && !ctrl) return this.hold(down);
      const what = !ctrl ? { p: "play" }[key] : { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key];
      if (!down || !what || (what === "play" && event.repeat)) return;
      event.preventDefault();
      this.$emit("key", what);
    };
    addEventListener("keydown", this.onKey);
    addEventListener("keyup", this.onKey);
    this.watcher = new ResizeObserver(() => this.tellSize());
    this.watcher.observe(this.$el);
    this.connect();
  },
  unmounted() {
    removeEventListener("keydown", this.onKey);
    removeEventListener("keyup", this.onKey);
    this.watcher.disconnect();
    this.gone = true;
    this.link?.close();
    this.stop();
    URL.revokeObjectURL(this.photo);
  },
  methods: {
    connect() {
      const scheme = location.protocol === "https:" ? "wss://" : "ws://";
      this.link = new WebSocket(scheme + location.host + (window.path_prefix || "") + this.socket);
      this.link.binaryType = "arraybuffer";
      this.link.onmessage = (event) => this.take(event.data);
      // The page itself is loaded anew when the server has gone; until then, try again.
      this.link.onclose = () => this.gone || setTimeout(() => this.gone || this.connect(), 1000);
    },
    tellSize() {
      const picture = this.$el.querySelector(".pictures");
      const side = Math.round((picture?.clientWidth || 0) * Math.min(devicePixelRatio || 1, 2));
      if (side && Math.abs(side - (this.side || 0)) > 16) this.$emit("size", (this.side = side));
    },
    async take(data) {
      const length = new DataView(data).getUint32(0, true);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      let at = 4 + length;
      const files = head.sizes.map((size) => new Blob([new Uint8Array(data, (at += size) - size, size)], { type: "image/jpeg" }));
      if (head.kind === "photo") {
        URL.revokeObjectURL(this.photo);
        this.photo = URL.createObjectURL(files[0]);
        return;
      }
      const order = (this.arrived = (this.arrived || 0) + 1);
      const images = await Promise.all(files.map((file) => createImageBitmap(file)));
      if (head.kind === "animation") return this.collect(head, images);
      // Decoding may overtake: what is older than what is shown is dropped.
      if (order < (this.painted[head.kind] || 0)) return;
      this.painted[head.kind] = order;
      this.last[head.kind] = images;
      if (head.kind === "before" || !this.playing) this.paint(head.kind === "before" ? "before" : "after", images);
      if (head.kind !== "edited") return;
      this.seq = Math.max(this.seq, head.seq);
      this.frame += 1;
    },
    paint(which, images) {
      const canvases = [].concat(this.$refs[which] || []);
      images.forEach((image, i) => {
        const canvas = canvases[i];
        if (!canvas) return;
        if (canvas.width !== image.width) canvas.width = canvas.height = image.width;
        canvas.getContext("2d").drawImage(image, 0, 0);
      });
    },
    redraw() {
      this.paint("before", this.last.before);
      this.paint("after", this.last.edited);
      this.tellSize();
    },
    hold(on) { this.holding = on; },
    drag(event) {
      if (this.shown !== "split" || (event.type === "pointermove" && !event.buttons)) return;
      const box = event.currentTarget.getBoundingClientRect();
      this.split = Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100));
    },
    nudge(event) {
      const step = { ArrowLeft: -2, ArrowRight: 2, Home: -100, End: 100 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.split = Math.min(100, Math.max(0, this.split + step));
    },
    closePhoto() { URL.revokeObjectURL(this.photo); this.photo = ""; },
    // Playback: frames are kept as they come, and run at the animation's rate once all are there. The
    // number of an animation tells its frames from others, as they come by another way than `play`.
    collect(head, images) {
      if (head.seq < this.collected) return;
      if (head.seq > this.collected) this.frames = [];
      this.collected = head.seq;
      this.total = head.total;
      this.frames[head.index] = images;
      this.start();
    },
    play(fps, bounce, number) {
      Object.assign(this, { fps, bounce, asked: number });
      this.start();
    },
    start() {
      if (this.asked !== this.collected || Object.keys(this.frames).length !== this.total) return;
      const frames = this.frames, count = frames.length, began = performance.now();
      this.playing = true;
      document.documentElement.style.setProperty("--playing", 1);
      const step = (now) => {
        if (!this.playing) return;
        const round = this.bounce ? 2 * count - 2 : count;
        // A frame's own time may be a little before the call that asked for it.
        let at = Math.floor((Math.max(now - began, 0) / 1000) * this.fps) % round;
        if (at >= count) at = round - at;
        this.paint("after", frames[at]);
        document.documentElement.style.setProperty("--played", at / Math.max(count - 1, 1));
        this.timer = requestAnimationFrame(step);
      };
      this.timer = requestAnimationFrame(step);
    },
    stop() {
      this.asked = 0;
      this.playing = false;
      cancelAnimationFrame(this.timer);
      document.documentElement.style.setProperty("--playing", 0);
      this.paint("after", this.last.edited);
    },
  },
};
