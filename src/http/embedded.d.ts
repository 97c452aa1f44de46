declare module "*.css" {
  const text: string;
  export default text;
}

declare module "*/uplot/LICENSE" {
  const text: string;
  export default text;
}

declare module "*/phoenix.min.js" {
  const text: string;
  export default text;
}

declare module "*/LICENSE.md" {
  const text: string;
  export default text;
}

declare module "*.wasm" {
  /** Path inside the executable. */
  const path: string;
  export default path;
}
