/** The error that this package throws; `kind` names the cause. */
export class GpavatarError extends Error {
  constructor(kind, message, options) {
    super(message, options);
    this.name = "GpavatarError";
    this.kind = kind;
  }
}
