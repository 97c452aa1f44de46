declare module "*.css" {
  const text: string;
  export default text;
}

declare module "*/swagger-ui-bundle.js" {
  /** Path inside the executable. */
  const path: string;
  export default path;
}

declare module "*/uplot/LICENSE" {
  const text: string;
  export default text;
}

declare module "*/swagger-ui-dist/LICENSE" {
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
