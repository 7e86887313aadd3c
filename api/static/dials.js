// Sliders beside the fields of amounts. They end at the largest amount that can be had, and step as people think.

const STEPS = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512,
  640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384];

export function dials(form) {
  for (const dial of form.querySelectorAll("[data-dial]")) {
    const field = form.elements[dial.dataset.dial];
    const most = Number(dial.dataset.most);
    if (!most) {
      dial.hidden = true;
      continue;
    }
    const steps = [...STEPS.filter((step) => step < most), most];
    dial.max = steps.length - 1;
    dial.step = 1;
    const unit = field.nextElementSibling.textContent;

    const follow = () => {
      const value = Number(field.value);
      const at = steps.findIndex((step) => step >= value);
      dial.value = at < 0 ? steps.length - 1 : at;
      dial.ariaValueText = `${field.value} ${unit}`;
    };
    dial.addEventListener("input", () => {
      field.value = String(steps[dial.value]);
      dial.ariaValueText = `${field.value} ${unit}`;
    });
    form.addEventListener("input", (event) => event.target !== dial && follow());
    follow();
  }
}
