// Says of every textarea[data-json-object] whether it holds a JSON object, and if not, where and why: as the property
// `mistake` ({index, line, column, why} or null) and by a `checked` event after each change.

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\r\n]*/y;
const DEEPEST = 500;

class Mistake extends Error {
  constructor(index, why) {
    super(why);
    this.index = index;
  }
}

// A reader of RFC 8259 that keeps nothing but its place.
class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  take(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found !== null;
  }

  peek() {
    this.take(SPACE);
    return this.text[this.at];
  }

  fail(why) {
    throw new Mistake(this.at, why);
  }

  value(depth) {
    const next = this.peek();
    if (depth > DEEPEST) this.fail("nested too deeply");
    if (next === "{") this.members(depth, "}", () => this.member(depth));
    else if (next === "[") this.members(depth, "]", () => this.value(depth + 1));
    else if (next === '"') this.string();
    else if (next === undefined) this.fail("a value is missing: it ends here");
    else if (!this.take(NUMBER) && !this.take(WORD)) this.fail(strange(next));
  }

  members(depth, end, read) {
    this.at += 1;
    if (this.peek() === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      read();
      const next = this.peek();
      if (next === end) {
        this.at += 1;
        return;
      }
      if (next !== ",") this.fail(next === undefined ? `it ends before its ${end}` : `expected , or ${end}`);
      const comma = this.at;
      this.at += 1;
      if (this.peek() === end) {
        this.at = comma;
        this.fail(`take out this comma: nothing follows before ${end}`);
      }
    }
  }

  member(depth) {
    if (this.peek() !== '"') this.fail('expected a key in double quotes: "key"');
    this.string();
    if (this.peek() !== ":") this.fail("expected : after the key");
    this.at += 1;
    this.value(depth + 1);
  }

  string() {
    if (this.take(STRING)) return;
    const line = /"(?:[^"\\\n]|\\.)*/y;
    line.lastIndex = this.at;
    const begun = line.exec(this.text)[0];
    if (this.text[this.at + begun.length] === '"') this.fail("this text has a character or an escape that JSON does not know");
    this.fail("this text does not end on its line; write \\n for a line break");
  }
}

function strange(next) {
  if (next === "'") return 'use double quotes: "text"';
  if (next === "}" || next === "]" || next === ",") return `a value is missing before ${next}`;
  return `expected a value, found ${next}`;
}

export function mistakeIn(text) {
  const reader = new Reader(text);
  try {
    const first = reader.peek();
    reader.value(0);
    const rest = reader.peek();
    if (rest !== undefined) reader.fail("nothing may follow the object");
    return first === "{" ? null : placed(text, text.search(/\S/), 'write an object: {"goal": "…"}');
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    return placed(text, error.index, error.message);
  }
}

function placed(text, index, why) {
  const before = text.slice(0, index).split("\n");
  return { index, line: before.length, column: [...before.at(-1)].length + 1, why };
}

function check(area) {
  area.mistake = mistakeIn(area.value.trim() === "" ? "{}" : area.value);
  area.setAttribute("aria-invalid", String(area.mistake !== null));
  area.dispatchEvent(new Event("checked", { bubbles: true }));
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-json-object]")) check(event.target);
});
addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-json-object]").forEach(check));
