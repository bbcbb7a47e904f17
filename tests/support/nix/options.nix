# Lists the options that modules declare: name, type, default as text, description.
{ modules }:

let
  lib = import ./minilib.nix;
  inherit ((lib.evalModules { modules = modules ++ [ { _module.args.pkgs = { }; } ]; })) options;

  text =
    value:
    if builtins.isAttrs value && (value._type or "") == "literal" then value.text else "`${builtins.toJSON value}`";

  listed =
    prefix: declared:
    builtins.concatMap (
      name:
      let
        option = declared.${name};
        path = if prefix == "" then name else "${prefix}.${name}";
        below = option.type.getSubOptions or { };
        inner = if lib.hasPrefix "attrs of" (option.type.name or "") then "${path}.<name>" else path;
      in
      if (option._type or "") != "option" then
        listed path option
      else
        [
          {
            name = path;
            type = option.type.name;
            default = if option ? defaultText then text option.defaultText else if option ? default then text option.default else "";
            inherit (option) description;
          }
        ]
        ++ listed inner below
    ) (builtins.attrNames declared);
in
listed "" options
