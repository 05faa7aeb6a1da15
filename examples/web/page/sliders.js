// Sliders of the expression and of the head.

import { GROUPS, HEAD } from "./content.js";
import { $, element } from "./dom.js";
import { ARKIT_CHANNELS } from "./gpavatar/drivers.js";

/** "mouthSmileLeft" as "Smile left", in the group that has "mouth" in its name. */
function title(channel) {
  const words = channel.replace(/([A-Z])/g, " $1").toLowerCase().split(" ");
  const rest = words.length > 1 && !/^(jaw|tongue|cheek|nose)$/.test(words[0]) ? words.slice(1) : words;
  const text = rest.join(" ");
  return text[0].toUpperCase() + text.slice(1);
}

/**
 * Sliders of `state.values`, for those of `state.channels`, and of `state.head`. `onTouch` hears first when
 * one is moved, then `onExpression` or `onHead`.
 */
export function expressionSliders({ state, onTouch, onExpression, onHead }) {
  function build() {
    const groups = GROUPS.map(([name, pattern]) => {
      const channels = ARKIT_CHANNELS.filter(
        (channel) => pattern.test(channel) && state.channels.includes(channel),
      );
      return [name, channelSliders(channels)];
    });
    groups.push(["Head", HEAD.map(([name, most], axis) => headSlider(name, most, axis))]);
    const open = new Set(
      [...document.querySelectorAll(".group[open]")].map((group) => group.dataset.name),
    );
    const wide = matchMedia("(min-width: 901px)").matches;
    $("sliders").replaceChildren(
      ...groups
        .filter(([, sliders]) => sliders.length)
        .map(([name, sliders]) => {
          const group = element("details", { className: "group" });
          group.dataset.name = name;
          group.open = open.size ? open.has(name) : name === "Jaw" || (wide && name === "Head");
          const summary = element("summary", { textContent: name });
          summary.append(element("span", { className: "quiet", textContent: sliders.length }));
          group.append(summary, ...sliders);
          return group;
        }),
    );
  }

  /** A slider for each channel, or for both sides of the face. */
  function channelSliders(channels) {
    const separate = $("sides").checked;
    const sliders = [];
    for (const channel of channels) {
      const side = /(.*)(Left|Right)$/.exec(channel);
      const paired =
        side && channels.includes(`${side[1]}Left`) && channels.includes(`${side[1]}Right`);
      // Movements to a side have no counterpart to pair with.
      if (!paired || separate || /^(jaw|mouth)$/.test(side[1])) {
        sliders.push(slider(title(channel), [channel]));
      } else if (side[2] === "Left") {
        sliders.push(slider(title(side[1]), [channel, `${side[1]}Right`]));
      }
    }
    return sliders;
  }

  function slider(name, channels) {
    return range(name, 0, 1, 0.01, (value) => value.toFixed(2), channels[0], {
      get: () => state.values[channels[0]],
      set(value) {
        channels.forEach((channel) => (state.values[channel] = value));
        onExpression();
      },
    });
  }

  function headSlider(name, most, axis) {
    return range(name, -most, most, 1, (value) => `${Math.round(value)}°`, `head-${axis}`, {
      get: () => (state.head[axis] * 180) / Math.PI,
      set(value) {
        state.head[axis] = (value * Math.PI) / 180;
        onHead();
      },
    });
  }

  function range(name, min, max, step, format, id, { get, set }) {
    const label = element("label", { className: "slider" });
    const input = element("input", { type: "range", min, max, step, id: `slider-${id}` });
    const output = element("output");
    input.refresh = () => {
      input.value = get();
      output.textContent = format(get());
    };
    input.addEventListener("input", () => {
      onTouch();
      set(Number(input.value));
      output.textContent = format(get());
    });
    input.addEventListener("dblclick", () => {
      set(0);
      input.refresh();
    });
    // Without this the label would belong to the output, its first labelable element.
    label.htmlFor = input.id;
    label.append(element("span", { textContent: name }), output, input);
    input.refresh();
    return label;
  }

  function refresh() {
    document.querySelectorAll("#sliders input").forEach((input) => input.refresh());
  }

  $("sides").addEventListener("change", build);
  return { build, refresh };
}
