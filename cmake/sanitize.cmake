# HASTE_SANITIZE=address,undefined instruments every target of the tree.
if(HASTE_SANITIZE)
  add_compile_options(-fsanitize=${HASTE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${HASTE_SANITIZE})
endif()
