// `example/todo-list` in JavaScript: the same answers as the model in Rust, byte for byte,
// and two actions more that look at what JavaScript finds around itself.

import { log } from 'reductor:reducer/host@1.0.0';

const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { fatal: true });
const encode = (value) => utf8.encode(JSON.stringify(value));
const decode = (bytes) => JSON.parse(text.decode(bytes));

// A string of white space as Unicode and Rust have it; `trim` of JavaScript differs.
const BLANK = /^[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*$/;

class Rejection {
  constructor(code, message) {
    this.code = code;
    this.message = message;
  }
}

function ensure(condition, code, message) {
  if (!condition) throw new Rejection(code, message);
}

function checkText(text) {
  ensure(!BLANK.test(text), 'EMPTY_TEXT', 'an item needs a text');
}

class TodoList {
  constructor(items) {
    this.items = items;
  }

  find(id) {
    const item = this.items.find((item) => item.id === id);
    ensure(item, 'TODO_NOT_FOUND', `there is no item ${JSON.stringify(id)}`);
    return item;
  }

  add({ id, text }, now) {
    checkText(text);
    ensure(id !== '', 'EMPTY_ID', 'an item needs an id');
    const exists = this.items.some((item) => item.id === id);
    ensure(!exists, 'TODO_EXISTS', `there is already an item ${JSON.stringify(id)}`);
    // In the order of their names: so `JSON.stringify` writes canonical JSON.
    this.items.push({ addedAt: now, completedAt: null, id, text });
  }

  complete({ id }, now) {
    const item = this.find(id);
    const before = item.completedAt;
    ensure(before === null, 'TODO_COMPLETED', `the item ${JSON.stringify(id)} was completed at ${before}`);
    item.completedAt = now;
  }

  rename({ id, text }) {
    checkText(text);
    this.find(id).text = text;
  }

  remove({ id }) {
    this.find(id);
    this.items = this.items.filter((item) => item.id !== id);
  }

  clearCompleted() {
    this.items = this.items.filter((item) => item.completedAt === null);
  }

  // Adds an item that says what there is around.
  lookAround({ id }, now) {
    const around = {
      now: Date.now(),
      date: new Date().toISOString(),
      random: [...crypto.getRandomValues(new Uint8Array(8))],
      uuid: crypto.randomUUID(),
    };
    console.log(`looked around at ${around.date}`);
    console.error('this goes to stderr');
    log('info', 'and this to the host');
    this.add({ id, text: JSON.stringify(around) }, now);
  }

  // Adds an item that says in which order timers went off.
  async wait({ id, delays }, now) {
    const began = performance.now();
    const order = [];
    const timer = (delay) =>
      new Promise((done) => setTimeout(() => done(order.push(delay)), delay));
    await Promise.all(delays.map(timer));
    const took = Math.round(performance.now() - began);
    this.add({ id, text: JSON.stringify({ order, took }) }, now);
  }
}

const string = { type: 'string' };
const object = (properties) => ({ type: 'object', properties, required: Object.keys(properties) });
const nothing = { type: 'null' };

// What each action takes, and what it does.
const ACTIONS = {
  ADD: { schema: object({ id: string, text: string }), apply: TodoList.prototype.add },
  COMPLETE: { schema: object({ id: string }), apply: TodoList.prototype.complete },
  RENAME: { schema: object({ id: string, text: string }), apply: TodoList.prototype.rename },
  REMOVE: { schema: object({ id: string }), apply: TodoList.prototype.remove },
  CLEAR_COMPLETED: { schema: nothing, apply: TodoList.prototype.clearCompleted },
  LOOK_AROUND: { schema: object({ id: string }), apply: TodoList.prototype.lookAround },
  WAIT: {
    schema: object({ id: string, delays: { type: 'array', items: { type: 'number' } } }),
    apply: TodoList.prototype.wait,
  },
};

function checkInput(schema, input) {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  if (schema === nothing) {
    const empty = input === null || (isObject && Object.keys(input).length === 0);
    ensure(empty, 'INVALID_INPUT', 'this action takes no input');
    return;
  }
  ensure(isObject, 'INVALID_INPUT', 'expected an object');
  for (const [name, { type }] of Object.entries(schema.properties)) {
    const value = Object.hasOwn(input, name) ? input[name] : undefined;
    const fits = type === 'array' ? Array.isArray(value) : typeof value === type;
    ensure(fits, 'INVALID_INPUT', `${name}: expected ${type}`);
  }
}

class Document {
  #list;

  static load(snapshot) {
    const document = new Document();
    const state = snapshot.find(({ scope }) => scope === 'global')?.state;
    document.#list = new TodoList(state ? decode(state).items : []);
    return document;
  }

  apply(action) {
    const known = Object.hasOwn(ACTIONS, action.type);
    ensure(known, 'UNKNOWN_ACTION', `unknown action ${JSON.stringify(action.type)}`);
    const { schema, apply } = ACTIONS[action.type];
    const input = decode(action.input);
    checkInput(schema, input);
    const applied = apply.call(this.#list, input, action.timestampUtcMs);
    // Only where it has to wait: a promise costs a turn of the event loop.
    return applied instanceof Promise ? applied.then(() => this.state()) : this.state();
  }

  state() {
    return encode({ items: this.#list.items });
  }
}

export const model = {
  Document,

  describe() {
    const actions = Object.entries(ACTIONS).map(([name, { schema }]) => ({ name, inputSchema: encode(schema) }));
    return { documentType: 'example/todo-list', version: 1, scopes: ['global'], actions, canonical: true };
  },

  upgrade() {
    throw 'there is no older version';
  },
};
