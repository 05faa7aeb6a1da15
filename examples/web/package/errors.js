/** What this package throws; `kind` says what went wrong in a word. */
export class GpavatarError extends Error {
  constructor(kind, message, options) {
    super(message, options);
    this.name = "GpavatarError";
    this.kind = kind;
  }
}
