# A stand-in of our own for nixpkgs' lib: what the modules in core/tskeyvault/units/nixos use of the module system.
let
  b = builtins;
  lib = rec {
    inherit (b) map filter head tail length attrNames attrValues elem concatLists toString isString isAttrs isList
      isInt isBool isFunction mapAttrs listToAttrs baseNameOf dirOf concatMap any all foldl';
    id = x: x;
    optional = c: x: if c then [ x ] else [ ];
    optionals = c: x: if c then x else [ ];
    optionalString = c: s: if c then s else "";
    optionalAttrs = c: a: if c then a else { };
    toList = x: if isList x then x else [ x ];
    unique = foldl' (acc: e: if elem e acc then acc else acc ++ [ e ]) [ ];
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: s: listToAttrs (map (n: f n s.${n}) (attrNames s));
    mapAttrsToList = f: s: map (n: f n s.${n}) (attrNames s);
    filterAttrs = p: s: listToAttrs (concatMap (n: if p n s.${n} then [ (nameValuePair n s.${n}) ] else [ ]) (attrNames s));
    genAttrs = ns: f: listToAttrs (map (n: nameValuePair n (f n)) ns);
    concatStringsSep = b.concatStringsSep;
    concatMapStringsSep = sep: f: l: concatStringsSep sep (map f l);
    hasPrefix = p: s: b.substring 0 (b.stringLength p) s == p;
    hasSuffix = p: s: let l = b.stringLength s; k = b.stringLength p; in l >= k && b.substring (l - k) k s == p;
    removeSuffix = p: s: if hasSuffix p s then b.substring 0 (b.stringLength s - b.stringLength p) s else s;
    removePrefix = p: s: if hasPrefix p s then b.substring (b.stringLength p) (-1) s else s;
    escapeShellArg = a: "'${b.replaceStrings [ "'" ] [ "'\\''" ] (toString a)}'";
    recursiveUpdate = l: r: if isAttrs l && isAttrs r && !(r ? _type) then l // mapAttrs (n: v: if l ? ${n} then recursiveUpdate l.${n} v else v) r else r;
    literalMD = text: { _type = "literal"; inherit text; };
    literalExpression = text: { _type = "literal"; inherit text; };
    # properties
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = mkOverride 1000; mkForce = mkOverride 50; mkOptionDefault = mkOverride 1500;
    mkOrder = order: content: { _type = "order"; inherit order content; };
    mkBefore = mkOrder 500; mkAfter = mkOrder 1500;
    # options
    mkOption = a: { _type = "option"; } // a;
    mkEnableOption = d: mkOption { type = types.bool; default = false; description = "Whether to enable ${d}."; };
    mkOptionType = a: let t = { check = x: true; merge = mergeEqualOption; } // a; in t // {
      merge = loc: vs: t.merge loc (map (v: if t.check v then v else throw "${concatStringsSep "." loc}: not of type ${t.name}") vs); };
    mergeEqualOption = loc: defs: let v = head defs; in if all (d: d == v) defs then v else throw "conflicting definitions for ${concatStringsSep "." loc}";
    # a definition list: [{ value; prio; order; }]
    discharge = prio: order: v:
      let t = if isAttrs v then v._type or "" else ""; in
      if t == "merge" then concatMap (discharge prio order) v.contents
      else if t == "if" then (if v.condition then discharge prio order v.content else [ ])
      else if t == "override" then [ { value = v.content; prio = v.priority; inherit order; } ]  # lazily: a default may throw
      else if t == "order" then discharge prio v.order v.content
      else [ { value = v; inherit prio order; } ];
    resolve = vs:
      let ds = concatMap (discharge 100 1000) vs; p = foldl' (m: d: if d.prio < m then d.prio else m) 9999 ds;
      in b.sort (x: y: x.order < y.order) (filter (d: d.prio == p) ds);
    pushDown = v:   # -> list of plain attrsets, properties pushed into the attributes (keeps conditions lazy)
      let t = if isAttrs v then v._type or "" else ""; in
      if t == "merge" then concatMap pushDown v.contents
      else if t == "if" then map (mapAttrs (_: x: mkIf v.condition x)) (pushDown v.content)
      else if t == "override" then map (mapAttrs (_: x: mkOverride v.priority x)) (pushDown v.content)
      else [ v ];
    scalar = name: check: { inherit name check; merge = loc: vs: mergeEqualOption loc (map (v: if check v then v else throw "${concatStringsSep "." loc}: not of type ${name}") vs); };
    types = rec {
      str = scalar "str" isString; bool = scalar "bool" isBool; int = scalar "int" isInt; lines = { name = "lines"; check = isString; merge = _: concatStringsSep "\n"; };
      path = scalar "path" (x: (isString x && hasPrefix "/" x) || b.isPath x);
      package = scalar "package" (x: isAttrs x && (x.type or "") == "derivation");
      ints = { positive = scalar "positive int" (x: isInt x && x > 0); unsigned = scalar "unsigned int" (x: isInt x && x >= 0); };
      enum = vs: scalar "one of ${concatStringsSep ", " vs}" (x: elem x vs);
      strMatching = re: scalar "string matching ${re}" (x: isString x && b.match re x != null);
      unspecified = { name = "unspecified"; check = _: true; merge = _: head; };
      anything = { name = "anything"; check = _: true; merge = loc: vs: if all isAttrs vs then foldl' recursiveUpdate { } vs else if all isList vs then concatLists vs else mergeEqualOption loc vs; };
      nullOr = t: { name = "null or ${t.name}"; getSubOptions = t.getSubOptions or { }; check = x: x == null || t.check x; merge = loc: vs: if all (v: v == null) vs then null else t.merge loc (filter (v: v != null) vs); };
      either = x: y: oneOf [ x y ];
      oneOf = ts: { name = concatStringsSep " or " (map (t: t.name) ts); check = x: any (t: t.check x) ts;
        merge = loc: vs: let c = filter (t: all t.check vs) ts; in if c == [ ] then throw "${concatStringsSep "." loc}: no matching type" else (head c).merge loc vs; };
      listOf = t: { name = "list of ${t.name}"; getSubOptions = t.getSubOptions or { }; check = isList; merge = loc: vs: map (x: t.merge loc [ x ]) (concatLists vs); };
      attrsOf = t: { name = "attrs of ${t.name}"; getSubOptions = t.getSubOptions or { }; check = isAttrs; merge = loc: vs:
        let parts = concatMap pushDown vs; in genAttrs (unique (concatMap attrNames parts)) (n:
          let ds = resolve (concatMap (a: optional (a ? ${n}) a.${n}) parts); in t.merge (loc ++ [ n ]) (map (d: d.value) ds)); };
      lazyAttrsOf = attrsOf;
      submodule = m: { name = "submodule"; getSubOptions = (evalModules { modules = [ m ]; args.name = "NAME"; }).options; check = x: isAttrs x || isFunction x; merge = loc: vs:
        (evalModules { modules = [ m ] ++ map (v: if isFunction v then v else { config = v; }) vs; prefix = loc; args.name = b.elemAt loc (length loc - 1); }).config; };
    };
    isModule = m: m ? options || m ? config || m ? imports;
    evalModules = { modules, prefix ? [ ], args ? { } }:
      let
        fix = let
          load = m0: let m1 = if b.isPath m0 || isString m0 then import m0 else m0;
                         m = if isFunction m1 then m1 (callArgs m1) else m1;
                         n = if isModule m then m else { config = b.removeAttrs m [ "_module" "key" ] // optionalAttrs (m ? _module) { inherit (m) _module; }; };
                     in [ { key = m.key or (if b.isPath m0 then toString m0 else null); module = n; } ] ++ concatMap load (n.imports or [ ]);
          callArgs = f: let want = b.functionArgs f; all_ = { inherit lib config; options = opts; } // args; in
            all_ // genAttrs (filter (n: !(all_ ? ${n})) (attrNames want)) (n: moduleArgs.${n});
          # A file that two modules import counts once.
          ms = map (m: m.module) (foldl' (acc: m: if m.key != null && any (o: o.key == m.key) acc then acc else acc ++ [ m ]) [ ] (concatMap load modules));
          moduleArgs = foldl' (a: m: a // (let c = m.config or { }; in if (c._type or "") == "" then c._module.args or { } else { })) { } ms;
          opts = foldl' recursiveUpdate { } (map (m: m.options or { }) ms);
          defs = concatMap (m: pushDown (m.config or { })) ms;
          go = loc: os: ds: mapAttrs (n: o:
            let here = concatMap (d: optional (d ? ${n}) d.${n}) ds; l = loc ++ [ n ]; in
            if (o._type or "") == "option" then
              let r = resolve (here ++ optional (o ? default) (mkOverride 1500 o.default)); t = o.type or types.unspecified; f = o.apply or id; in
              if r == [ ] then throw "option ${concatStringsSep "." l} has no value" else f (t.merge l (map (d: d.value) r))
            else go l o (concatMap pushDown here)) os;
          unknown = loc: os: ds: concatMap (d: concatMap (n:
            if loc == [ ] && n == "_module" then [ ]
            else if !(os ? ${n}) then [ (concatStringsSep "." (prefix ++ loc ++ [ n ])) ]
            else if (os.${n}._type or "") == "option" then [ ]
            else unknown (loc ++ [ n ]) os.${n} (pushDown d.${n})) (attrNames d)) ds;
          bad = unknown [ ] opts defs;
          config = if bad != [ ] then throw "undefined option(s): ${concatStringsSep ", " bad}" else go prefix opts defs;
        in { inherit config; options = opts; };
      in fix;
  };
in lib
