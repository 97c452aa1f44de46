declare module "*.css" {
  const text: string;
  export default text;
}

declare module "*/swagger-ui-bundle.js" {
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
