declare module "*/deploy/channel.service" {
  const text: string;
  export default text;
}

declare module "*/deploy/channel.toml" {
  const text: string;
  export default text;
}

declare module "*/deploy/compose.yaml" {
  const text: string;
  export default text;
}

declare module "*/deploy/Containerfile" {
  const text: string;
  export default text;
}
