// Images of a question: pasted, dropped or chosen, made small enough to be sent with every later turn.
const MOST = 8;
const SIDE = 1280;
const MOST_CHARS = 200_000;

async function shrunk(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = document.createElement("canvas");
  let side = SIDE;
  let url = "";
  for (const quality of [0.85, 0.75, 0.6, 0.5]) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    url = canvas.toDataURL("image/jpeg", quality);
    if (url.length <= MOST_CHARS) break;
    side *= 0.8;
  }
  bitmap.close();
  return url;
}

export function pictures(form, say) {
  const place = form.querySelector("[data-previews]");
  const template = document.querySelector('template[data-template="preview"]');
  let found = [];

  function show() {
    place.hidden = found.length === 0;
    place.replaceChildren(...found.map((url, at) => {
      const preview = template.content.cloneNode(true).firstElementChild;
      preview.querySelector("img").src = url;
      preview.querySelector("img").alt = `Image ${at + 1}`;
      preview.querySelector("button").addEventListener("click", () => {
        found = found.filter((_, other) => other !== at);
        show();
        form.querySelector("textarea").focus();
      });
      return preview;
    }));
  }

  async function add(files) {
    const images = [...files].filter((file) => /^image\/(png|jpeg|webp|gif)$/.test(file.type));
    if (images.length === 0) return false;
    if (found.length + images.length > MOST) say(`At most ${MOST} images go with a question.`);
    for (const file of images.slice(0, MOST - found.length)) {
      try {
        found = [...found, await shrunk(file)];
      } catch {
        say("One of the images cannot be read.");
      }
    }
    show();
    say(`${found.length} ${found.length === 1 ? "image goes" : "images go"} with the question.`);
    return true;
  }

  const input = form.querySelector('input[type="file"]');
  input.addEventListener("change", async () => {
    await add(input.files);
    input.value = "";
    form.querySelector("textarea").focus();
  });
  form.addEventListener("paste", (event) => {
    if ([...event.clipboardData.files].some((file) => file.type.startsWith("image/"))) {
      event.preventDefault();
      add(event.clipboardData.files);
    }
  });
  const over = (is) => form.classList.toggle("dropping", is);
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    over(false);
    add(event.dataTransfer.files);
  });

  return {
    take() {
      const taken = found;
      found = [];
      show();
      return taken;
    },
    put(urls) {
      found = [...urls];
      show();
    },
    get count() { return found.length; },
  };
}
