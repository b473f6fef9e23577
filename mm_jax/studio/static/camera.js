// What the camera sees, as in a mirror; `take` hands a photo of it to an upload.
export default {
  template: `
    <div class="camera">
      <video ref="video" autoplay playsinline muted aria-label="The camera" @playing="$emit('ready')"></video>
    </div>`,
  emits: ["ready", "failed"],
  async mounted() {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
      // The dialog may be closed by now.
      if (!this.$refs.video) return stream.getTracks().forEach((track) => track.stop());
      this.stream = this.$refs.video.srcObject = stream;
    } catch (error) {
      this.$emit("failed", error.name || "no camera");
    }
  },
  unmounted() { this.stream?.getTracks().forEach((track) => track.stop()); },
  methods: {
    // A photo goes the way of every other upload; it is not mirrored.
    take(upload) {
      const video = this.$refs.video;
      const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => {
        const file = new File([blob], "camera.jpg", { type: "image/jpeg" });
        getElement(upload).$refs.qRef.addFiles([file]);
      }, "image/jpeg", 0.95);
    },
  },
};
