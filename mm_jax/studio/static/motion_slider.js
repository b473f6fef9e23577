// A slider of one motion: marks at zero and at the anchors' own motion, shading where the picture no
// longer follows. It keeps its own value, so that nothing else on the page disturbs a drag. With a
// `curve` it moves in calibrated units, and tells the page strengths all the same.
const LEVELS = [-1, 0, 1];

export default {
  template: `
    <div class="motion" :class="{ moved: now !== 0 }">
      <label :for="id + '-range'">{{ title }}</label>
      <small class="reads" v-if="read" title="What CLIP reads of it at this strength, on average over faces">{{ read }}</small>
      <output :for="id + '-range'">{{ text }}</output>
      <div class="track" :style="style">
        <input :id="id + '-range'" type="range" :min="ends[0]" :max="ends[1]" step="0.01" :value="now" :aria-valuetext="spoken"
               @pointerdown="byKey = false" @keydown="byKey = true" @input="move" @change="commit" @dblclick="reset"
               @keydown.delete="reset" @keydown.0="reset">
        <span v-for="level in marks" :key="level" class="mark" :class="{ zero: level === 0 }" :style="{ '--at': at(level) }"></span>
        <span v-for="end in saturates" :key="'end' + end" class="mark end" :style="{ '--at': at(end) }"></span>
      </div>
    </div>`,
  props: { id: String, title: String, value: Number, most: Number, limits: Array, curve: Array, readings: Array },
  emits: ["move", "commit", "amend"],
  data() { return { held: this.value, now: this.amount(this.value), byKey: false }; },
  watch: { value(value) { this.set(value); }, curve() { this.set(this.held); } },
  computed: {
    // In units of the slider, on whole hundredths, so that zero is a place of it.
    ends() {
      if (!this.curve) return [-this.most, this.most];
      return [Math.floor(100 * this.curve[0][1]) / 100, Math.ceil(100 * this.curve[this.curve.length - 1][1]) / 100];
    },
    marks() { return LEVELS.filter((level) => level > this.ends[0] && level < this.ends[1]); },
    saturates() {
      return (this.limits || []).filter((end) => Math.abs(end) < this.most).map((end) => this.amount(end));
    },
    text() {
      const sign = this.now > 0 ? "+" : this.now < 0 ? "−" : "";
      return sign + Math.abs(this.now).toFixed(2);
    },
    read() {
      return this.readings ? `reads ${Math.round(100 * along(this.readings, this.held, 0, 1))} %` : "";
    },
    spoken() {
      const [low, high] = this.limits || [-this.most, this.most];
      const beyond = this.held < low || this.held > high ? "beyond where the picture follows" : "";
      return [this.text, this.read, beyond].filter(Boolean).join(", ");
    },
    style() {
      const [low, high] = this.limits || [-this.most, this.most];
      return {
        "--from": this.at(Math.min(this.now, 0)), "--to": this.at(Math.max(this.now, 0)),
        // Less than 0 and more than 1 where it never ends: no shading.
        "--low": low > -this.most ? this.at(this.amount(low)) : -1, "--high": high < this.most ? this.at(this.amount(high)) : 2,
      };
    },
  },
  methods: {
    amount(strength) { return this.curve ? along(this.curve, strength, 0, 1) : strength; },
    strength(amount) {
      if (!this.curve || !amount) return amount;
      return Math.round(1e4 * along(this.curve, amount, 1, 0)) / 1e4;
    },
    at(amount) { return Math.min(1, Math.max(0, (amount - this.ends[0]) / (this.ends[1] - this.ends[0]))); },
    // Numbers of changes are counted for the whole page; the stage shows the last one it has drawn.
    next() { return (window.studioSeq = (window.studioSeq || 0) + 1); },
    tell(event) {
      this.held = this.strength(this.now);
      this.$emit(event, { value: this.held, seq: this.next() });
    },
    move(event) {
      const value = Number(event.target.value);
      // A hand finds zero more easily than a hundredth beside it; keys go by hundredths.
      this.now = !this.byKey && Math.abs(value) < 0.03 ? 0 : value;
      this.tell("move");
    },
    commit() {
      this.changed = performance.now();
      this.tell("commit");
    },
    reset(event) {
      event.preventDefault();
      // The first click of a double click may have moved the slider: that is no step to be undone.
      const moved = event.type === "dblclick" && performance.now() - (this.changed ?? -1e4) < 1000;
      this.now = 0;
      this.tell(moved ? "amend" : "commit");
    },
    set(value) {
      this.held = value;
      this.now = this.amount(value);
    },
  },
};

// A curve of growing pairs at a place, from one of the two values to the other; held beyond its ends.
function along(pairs, place, from, to) {
  const after = pairs.findIndex((pair) => pair[from] >= place);
  if (after === 0) return pairs[0][to];
  if (after < 0) return pairs[pairs.length - 1][to];
  const [left, right] = [pairs[after - 1], pairs[after]];
  return left[to] + ((place - left[from]) / (right[from] - left[from])) * (right[to] - left[to]);
}
