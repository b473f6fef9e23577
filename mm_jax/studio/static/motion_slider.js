// A slider of one motion: zero in the middle, marks at the anchors' own motion, shading where the
// picture no longer follows. It keeps its own value, so that nothing else on the page disturbs a drag.
export default {
  template: `
    <div class="motion" :class="{ moved: now !== 0 }">
      <label :for="id + '-range'">{{ title }}</label>
      <output :for="id + '-range'">{{ text }}</output>
      <div class="track" :style="style">
        <input :id="id + '-range'" type="range" :min="-most" :max="most" step="0.01" :value="now" :aria-valuetext="text"
               @input="move" @change="commit" @dblclick="reset" @keydown.delete="reset" @keydown.0="reset">
        <span class="mark" style="left: 25%"></span><span class="mark zero"></span><span class="mark" style="left: 75%"></span>
      </div>
    </div>`,
  props: { id: String, title: String, value: Number, most: Number, limits: Array },
  emits: ["move", "commit"],
  data() { return { now: this.value }; },
  watch: { value(value) { this.now = value; } },
  computed: {
    text() {
      const sign = this.now > 0 ? "+" : this.now < 0 ? "−" : "";
      return sign + Math.abs(this.now).toFixed(2);
    },
    style() {
      const place = (value) => ((value + this.most) / (2 * this.most)) * 100;
      const [low, high] = this.limits || [-this.most, this.most];
      const ends = [place(Math.min(this.now, 0)), place(Math.max(this.now, 0))];
      return { "--from": ends[0] + "%", "--to": ends[1] + "%", "--low": place(low) + "%", "--high": place(high) + "%" };
    },
  },
  methods: {
    // Numbers of changes are counted for the whole page; the stage shows the last one it has drawn.
    next() { return (window.studioSeq = (window.studioSeq || 0) + 1); },
    move(event) {
      let value = Number(event.target.value);
      if (Math.abs(value) < 0.03) value = 0;
      this.now = value;
      this.$emit("move", { value, seq: this.next() });
    },
    commit() { this.$emit("commit", { value: this.now, seq: this.next() }); },
    reset(event) {
      event.preventDefault();
      this.now = 0;
      this.commit();
    },
    set(value) { this.now = value; },
  },
};
